"""Run the `evaluate` stage: score models/, write results/, print the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluate.run import details, figures, plots, report
from evaluate.run.load import MODELS, load_run
from evaluate.run.measures.measure import NAMES, PLAIN
from pipeline.disk import write_text
from pipeline.errors import UserError
from pipeline.inputs import Inputs
from pipeline.locks import alone
from pipeline.params import FEATURES, load
from pipeline.tables.schema import LABELS, UTTERANCES

RESULTS = Path("results")
PAGE = RESULTS / "report.html"
WRITTEN = ("details.json", "metrics.json", "plots", "predictions.csv", "report.html")


def run() -> None:
    """Score the models and write every file of results/.

    Raises:
        UserError: a model, table or cache is damaged or belongs to another run, or the disk is full.
    """
    with alone("evaluate"):
        caches = [FEATURES / f"{name}.h5" for name in load().train.streams.in_use().values()]
        inputs = Inputs(
            [
                *(
                    f"corpus.{key}"
                    for key in ("labels", "licence", "name", "root", "target", "title", "values")
                ),
                *("evaluate", "loss", "model", "train"),
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
    """Return metrics.json as a table, followed by the interval and sd of the test split's main score.

    Shares are in percent; the other scores are in their own unit.
    """
    rows = {name: row for name, row in table.items() if isinstance(row, dict)}
    metrics = [name for name in NAMES if any(name in row for row in rows.values())]
    if rows and not metrics:
        raise KeyError("no score")
    lines = [" " * 12 + "".join(f"{NAMES[metric]:>17}" for metric in metrics)]
    for name, row in rows.items():
        lines.append(f"{name:<12}" + "".join(f"{shown(metric, row[metric]):>17}" for metric in metrics))
    test = table.get("test", {})
    main = next(
        (key.removesuffix("_low") for key in test if key.endswith("_low")), metrics[0] if metrics else ""
    )
    spread = []
    if f"{main}_low" in test:
        low, high = (shown(main, test[f"{main}_{end}"]) for end in ("low", "high"))
        spread.append(f"95% interval over dialogues {low} to {high}")
    if f"{main}_sd" in test:
        spread.append(f"sd over seeds {shown(main, test[f'{main}_sd'])}")
    if spread:
        lines.append(f"test {NAMES[main]}: {'; '.join(spread)}")
    return "\n".join(lines)


def shown(metric: str, value: float | None) -> str:
    """Return a score for people: in percent, or with three decimals in its own unit."""
    if value is None:
        return "none"
    return f"{value:.3f}" if metric in PLAIN else f"{100 * value:.1f}"
