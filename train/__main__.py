"""The `train` stage: `python -m train` fits `train.seeds` models into models/seedN.

Reads params.yaml, the two tables and the caches of `train.streams`; the same inputs on the same kind of machine give
the same bytes, on any number of cores. Interrupted, it goes on at the next start from the last whole epoch.
"""

from __future__ import annotations

from pipeline.errors import entry


def main() -> None:
    from train.stage import run

    run()


if __name__ == "__main__":
    entry(main, "train: stopped; the next run goes on from the last whole epoch")
