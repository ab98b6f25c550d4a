"""The `evaluate` stage: scores the models in models/ and writes results/.

    python -m evaluate         # score them
    python -m evaluate show    # print the last metrics once more

results/metrics.json      the scores, for `dvc exp show` and `dvc metrics diff`
results/details.json      every other number: labels, seeds, intervals, calibration, modalities, statuses
results/predictions.csv   an answer for every utterance
results/plots/            csv files for `dvc plots`, the same as SVG and PNG
results/report.html       all of it for people, offline
"""

from __future__ import annotations

from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    words = parser("evaluate", __doc__)
    words.add_argument("do", nargs="?", choices=("show",), help="score nothing, print the last metrics")
    shown = words.parse_args().do

    from evaluate import stage

    (stage.show if shown else stage.run)()


if __name__ == "__main__":
    entry(main)
