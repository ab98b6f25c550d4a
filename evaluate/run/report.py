"""results/report.html: one file that shows a run to a person, offline, on a desk, a phone or paper.

The template holds the words, evaluate/page.css the looks, report.js filters and heatmaps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from evaluate.page import bar, page
from evaluate.palette import colours
from evaluate.run import charts
from evaluate.run.metrics import METRICS
from evaluate.run.results import Run, leaders
from pipeline.tables.schema import SPLITS

HERE = Path(__file__).parent
TITLES = {
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy (WA)",
    "unweighted_accuracy": "Unweighted accuracy (UA)",
    "calibration_error": "Calibration error",
}
STYLES: dict[str, Callable[[Any], str]] = {
    "percent": lambda v: f"{100 * v:.1f}".replace("-", "−"),
    "count": lambda v: f"{v:,}".replace(",", "\u202f"),
}


def render(run: Run, found: dict[str, Any]) -> str:
    """The page, from a run and what `evaluate.run.details.details` found in it; the same run gives the same text."""
    test = found["seeds"][0]["splits"].get("test")
    return page(
        HERE / "report",
        run=run,
        params=run.params,
        found=found,
        names=run.names,
        colours=colours(run.names),
        metrics=METRICS,
        titles=TITLES,
        splits=SPLITS,
        num=lambda style, *path: _number(found, style, path),
        json=lambda value: json.dumps(value, ensure_ascii=False),
        history=charts.history(run),
        reliability=charts.reliability(test["calibration"]) if test else None,
        box=charts,
        dialogues=_dialogues(run),
        speakers=sorted({run.utterances[i].speaker for rows in run.test_dialogues() for i in rows}),
        data=_data(run),
    )


def _number(found: dict[str, Any], style: str, path: tuple[Any, ...]) -> Markup:
    """A number of details.json, rounded for the eye; its full value and its place there stay in the markup."""
    value: Any = found
    for key in path:
        value = value[key]
    if value is None:
        return Markup('<span class="none" title="undefined: nothing to count">–</span>')
    return Markup('<data value="{}" data-path="{}">{}</data>').format(
        repr(value), json.dumps(path, ensure_ascii=False), STYLES[style](value)
    )


def _dialogues(run: Run) -> list[dict[str, Any]]:
    truth = run.truth
    probabilities = run.first.probabilities
    predicted = probabilities.argmax(axis=1)
    led = leaders(run.first) if run.first.without else np.full(len(truth), "")
    used = [s for s in run.streams if s.modality not in run.dropped]
    shown = []
    for rows in run.test_dialogues():
        turns = [
            {
                "row": i,
                "utterance": run.utterances[i],
                "truth": int(truth[i]),
                "predicted": int(predicted[i]),
                "verdict": "unlabelled" if truth[i] < 0 else "right" if truth[i] == predicted[i] else "wrong",
                "probability": float(probabilities[i, predicted[i]]),
                "led": led[i],
                "missing": [(s.modality, s.status[i]) for s in used if s.status[i] != "ok"],
                "bar": bar(probabilities[i]),
            }
            for i in rows
        ]
        verdicts = [turn["verdict"] for turn in turns]
        shown.append(
            {
                "name": run.utterances[rows[0]].dialogue,
                "turns": turns,
                "right": verdicts.count("right"),
                "scored": len(turns) - verdicts.count("unlabelled"),
            }
        )
    return shown


def _data(run: Run) -> dict[str, Any]:
    """What the script shows on demand, in thousandths: probabilities by row, attention by dialogue."""
    rows = [i for group in run.test_dialogues() for i in group]
    columns = {"": run.first.probabilities, **run.first.without}
    return {
        "labels": run.names,
        "modalities": list(run.first.without),
        "turns": {i: [_thousandths(p[i]) for p in columns.values()] for i in rows},
        "attention": [
            {"query": query, "key": key, "maps": [_thousandths(weight) for weight in maps]}
            for (query, key), maps in (run.first.attention or {}).items()
        ],
    }


def _thousandths(values: np.ndarray) -> list[Any]:
    return np.rint(np.asarray(values, dtype=np.float64) * 1000).astype(int).tolist()
