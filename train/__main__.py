"""Train `train.seeds` fusion models, and write them to models/seedN. This is the `train` stage.

    python -m train

Input: params.yaml, data/utterances.csv, data/labels.csv, and the feature caches of `train.streams`. The same inputs on
the same kind of machine give the same bytes, on any number of cores. After an interruption, the next run resumes from
the last saved epoch.
"""

from __future__ import annotations

from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    """Run the command."""
    parser("train", __doc__).parse_args()

    from train.stage import run

    run()


if __name__ == "__main__":
    entry(main, "train: interrupted; the next run resumes from the last saved epoch")
