"""Score the models in models/ and write results/: the `evaluate` stage.

    python -m evaluate         # score the models
    python -m evaluate show    # print the last metrics again

results/metrics.json      the scores, for `dvc exp show` and `dvc metrics diff`
results/details.json      every other number: labels, seeds, intervals, calibration, modalities, statuses
results/predictions.csv   the prediction for every utterance
results/plots/            csv files for `dvc plots`, and the same plots as SVG and PNG
results/report.html       a page with all results, readable offline
"""

from __future__ import annotations

from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    """Score the models, or print the last metrics."""
    words = parser("evaluate", __doc__)
    words.add_argument("do", nargs="?", choices=("show",), help="print the last metrics without scoring")
    shown = words.parse_args().do

    from evaluate import stage

    (stage.show if shown else stage.run)()


if __name__ == "__main__":
    entry(main)
