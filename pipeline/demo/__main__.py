"""Generate the built-in corpus `demo` from text, eSpeak NG and two portraits, without a download.

    python -m pipeline.demo                  # data/demo: media/*.mp4 and annotations.csv
    python -m pipeline.demo --dialogues 2    # a smaller corpus: two dialogues of each split

The conversations between two people were written for this project. They are spoken by a synthesizer, and expressions
are drawn on a talking face. The corpus exercises the whole pipeline; its scores say nothing about people. The bytes do
not depend on the number of processes (`EMOFUSE_WORKERS`, by default one per core).
"""

from __future__ import annotations

from pathlib import Path

from pipeline.closure import NEUTRAL, closure, path_of
from pipeline.closure import ROOT as SOURCE
from pipeline.command import parser
from pipeline.errors import entry
from pipeline.inputs import Inputs
from pipeline.locks import alone

ROOT = Path("data/demo")


def main() -> None:
    """Run `python -m pipeline.demo`."""
    words = parser("pipeline.demo", __doc__)
    words.add_argument("--dialogues", type=int, metavar="N", help="make only N dialogues of each split")
    asked = words.parse_args().dialogues
    if asked is not None and asked < 1:
        words.error(f"--dialogues: {asked} is too few; give 1 or more")

    # Imported here, because the worker processes do not import this module.
    from pipeline.demo.build import build
    from pipeline.demo.plan import LINES

    code = [SOURCE / path_of(module) for module in closure("pipeline.demo.__main__", without=NEUTRAL)]
    with alone("demo"):
        inputs = Inputs([], [LINES, *code])
        build(ROOT, asked)
        inputs.check([ROOT])


if __name__ == "__main__":
    entry(main)
