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

import json
from pathlib import Path
from typing import Any

from evaluate.run import details, figures, plots, report
from evaluate.run.load import load_run
from evaluate.run.metrics import METRICS
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.params import load

RESULTS = Path("results")
PAGE = RESULTS / "report.html"
HEADS = {
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "unweighted_accuracy": "unweighted acc.",
}


def main() -> None:
    run = load_run(load())
    found = details.details(run)
    table = details.write(run, found, RESULTS)
    plots.write(run, found, RESULTS / "plots")
    figures.write(run, found, RESULTS / "plots")
    PAGE.write_text(report.render(run, found), encoding="utf-8")
    _print(table)


def show() -> None:
    path = RESULTS / "metrics.json"
    if not path.exists():
        raise UserError(f"{path}: no such file; `dvc repro` makes it")
    try:
        _print(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: damaged ({str(error)[:200]}); `dvc repro --force evaluate` makes it anew"
        ) from None


def command() -> None:
    words = parser("evaluate", __doc__)
    words.add_argument("do", nargs="?", choices=("show",), help="score nothing, print the last metrics")
    (show if words.parse_args().do else main)()


def _print(table: dict[str, Any]) -> None:
    print(terminal(table))
    print(f"report: {PAGE}\nplots:  {RESULTS / 'plots'}")


def terminal(table: dict[str, Any]) -> str:
    """metrics.json as a table of percentages, the test's interval and sd below it."""
    lines = [" " * 12 + "".join(f"{HEADS[metric]:>17}" for metric in METRICS)]
    for name, row in table.items():
        if isinstance(row, dict):
            lines.append(f"{name:<12}" + "".join(f"{100 * row[metric]:>17.1f}" for metric in METRICS))
    test = table.get("test", {})
    spread = []
    if "weighted_f1_low" in test:
        low, high = 100 * test["weighted_f1_low"], 100 * test["weighted_f1_high"]
        spread.append(f"95% interval over dialogues {low:.1f} to {high:.1f}")
    if "weighted_f1_sd" in test:
        spread.append(f"sd over seeds {100 * test['weighted_f1_sd']:.1f}")
    if spread:
        lines.append(f"test weighted F1: {'; '.join(spread)}")
    return "\n".join(lines)


if __name__ == "__main__":
    entry(command)
