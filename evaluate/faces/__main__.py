"""Show which faces a stream takes: an offline page with frames, all boxes, and the selected face of each utterance.

    python -m evaluate.faces face                          # writes results/faces/face.html
    python -m evaluate.faces face --split test --most 500
    python -m evaluate.faces face --wrong                  # utterances that are most confidently wrong
    python -m evaluate.faces face --to /tmp/faces.html

A picture of each utterance's selected faces is written to the folder beside the page (results/faces/face). The report
shows those of the most confident errors.

Frames are decoded again. Boxes that an extraction of any face stream has found are read from .cache/kept, the others
are detected. If there are more utterances than `--most`, the page shows an even selection of them.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    """Parse the arguments and write the page."""
    arguments = parser("evaluate.faces", __doc__)
    arguments.add_argument("stream", metavar="STREAM", help="a stream of params.yaml whose encoder is face")
    arguments.add_argument("--split", choices=["train", "val", "test"], help="only utterances of this split")
    arguments.add_argument("--most", type=int, default=200, help="utterances shown at most (default: 200)")
    arguments.add_argument(
        "--wrong",
        action="store_true",
        help="only the most confidently wrong utterances of results/details.json",
    )
    arguments.add_argument("--to", type=Path, help="the page (default: results/faces/STREAM.html)")
    words = arguments.parse_args()

    from evaluate.faces.sights import write

    to = words.to or Path("results/faces") / f"{words.stream}.html"
    for line in write(words.stream, words.split, words.most, to, words.wrong):
        print(line)


if __name__ == "__main__":
    entry(main)
