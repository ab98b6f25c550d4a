"""The `evaluate` stage: `python -m evaluate` scores the models in models/ and writes results/.

`python -m evaluate show` prints the last metrics once more.

results/metrics.json      the scores, for `dvc exp show` and `dvc metrics diff`
results/details.json      every other number: labels, seeds, intervals, calibration, modalities, statuses
results/predictions.csv   an answer for every utterance
results/plots/            csv files for `dvc plots`, the same as SVG and PNG
results/report.html       all of it for people, offline
"""

from __future__ import annotations

import sys

from pipeline.errors import UserError, entry


def main() -> None:
    from evaluate import stage

    match sys.argv[1:]:
        case []:
            stage.run()
        case ["show"]:
            stage.show()
        case _:
            raise UserError("usage: python -m evaluate [show]")


if __name__ == "__main__":
    entry(main)
