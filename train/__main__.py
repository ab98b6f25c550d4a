"""The `train` stage: fits `train.seeds` models into models/seedN.

    python -m train

Reads params.yaml, the two tables and the caches of `train.streams`; the same inputs on the same kind of machine give
the same bytes, on any number of cores. Interrupted, it goes on at the next start from the last whole epoch.
"""

from __future__ import annotations

from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    parser("train", __doc__).parse_args()

    from train.stage import run

    run()


if __name__ == "__main__":
    entry(main, "train: stopped; the next run goes on from the last whole epoch")
