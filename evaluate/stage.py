"""Run the `evaluate` stage: score models/, write results/, print the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluate.run import details, figures, plots, report
from evaluate.run.load import MODELS, load_run
from evaluate.run.metrics import METRICS
from pipeline.disk import write_text
from pipeline.errors import UserError
from pipeline.inputs import Inputs
from pipeline.locks import alone
from pipeline.params import FEATURES, load
from pipeline.tables.schema import LABELS, UTTERANCES

RESULTS = Path("results")
PAGE = RESULTS / "report.html"
WRITTEN = ("details.json", "metrics.json", "plots", "predictions.csv", "report.html")
HEADS = {
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "unweighted_accuracy": "unweighted acc.",
}


def run() -> None:
    """Score the models and write every file of results/.

    Raises:
        UserError: a model, table or cache is damaged or belongs to another run, or the disk is full.
    """
    with alone("evaluate"):
        caches = [FEATURES / f"{name}.h5" for name in load().train.streams.in_use().values()]
        inputs = Inputs(
            [
                "corpus.labels",
                "corpus.licence",
                "corpus.name",
                "corpus.root",
                "corpus.title",
                "evaluate",
                "loss",
                "model",
                "train",
            ],
            [UTTERANCES, LABELS, *caches, MODELS],
        )
        scored = load_run(load())
        found = details.details(scored)
        table = details.write(scored, found, RESULTS)
        plots.write(scored, found, RESULTS / "plots")
        figures.write(scored, found, RESULTS / "plots")
        write_text(PAGE, report.render(scored, found))
        inputs.check([RESULTS / name for name in WRITTEN])
    _print(table)
    for hint in found["hints"]:
        print(f"hint: {hint}")


def show() -> None:
    """Print the last metrics again.

    Raises:
        UserError: results/metrics.json is missing or damaged.
    """
    path = RESULTS / "metrics.json"
    if not path.exists():
        raise UserError(f"{path}: no such file; run `dvc repro` to write it")
    try:
        _print(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({str(error)[:200]}); run `dvc repro --force evaluate`") from None


def _print(table: dict[str, Any]) -> None:
    print(terminal(table))
    print(f"report: {PAGE}\nplots:  {RESULTS / 'plots'}")


def terminal(table: dict[str, Any]) -> str:
    """Return metrics.json as a table of percentages, followed by the interval and sd of the test split."""
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
