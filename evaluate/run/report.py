"""Build results/report.html: one offline file that shows a run on screens, phones and paper.

The template has the text, pipeline/pages/page.css the style, report.js the filters and heatmaps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from evaluate.bars import TOP, bar, top
from evaluate.run import charts, outputs, shown
from evaluate.run.measures import measure_of
from evaluate.run.measures.measure import PLAIN
from evaluate.run.results import Run, leaders
from pipeline import fragments
from pipeline.pages.page import page
from pipeline.pages.palette import colours
from pipeline.tables.schema import SPLITS, Source

HERE = Path(__file__).parent
TITLES = {
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy (WA)",
    "unweighted_accuracy": "Unweighted accuracy (UA)",
    "kl": "KL from the votes, nats",
    "micro_f1": "Micro F1",
    "subset_accuracy": "Subset accuracy",
    "mean_average_precision": "Mean average precision",
    "ccc": "Concordance (CCC)",
    "pearson": "Pearson correlation",
    "mae": "Mean absolute error",
    "calibration_error": "Calibration error",
}
STYLES: dict[str, Callable[[Any], str]] = {
    "percent": lambda v: f"{100 * v:.1f}".replace("-", "−"),
    "plain": lambda v: f"{v:.3f}".replace("-", "−"),
    "count": lambda v: f"{v:,}".replace(",", "\u202f"),
}


def render(run: Run, found: dict[str, Any]) -> str:
    """Return the page of a run and its `evaluate.run.details.details`; equal runs give equal text."""
    test = found["seeds"][0]["splits"].get("test")
    groups = shown.turns(run)
    metrics = measure_of(run).metrics
    one_label = run.params.corpus.target in ("single", "soft")
    return page(
        HERE / "report",
        run=run,
        params=run.params,
        corpus=run.params.corpus.title or run.params.corpus.name,
        found=found,
        names=run.names,
        colours=colours(run.names),
        metrics=metrics,
        titles=TITLES,
        own_unit=PLAIN,
        one_label=one_label,
        splits=SPLITS,
        num=lambda style, *path: _number(found, style, path),
        json=lambda value: json.dumps(value, ensure_ascii=False),
        history=charts.history(run),
        reliability=charts.reliability(test["calibration"]) if test and "calibration" in test else None,
        box=charts,
        listed=shown.labels(run),
        media=media_folder(run.params.corpus.root),
        faces=next((stream.name for stream in run.streams if stream.encoder["encoder"] == "face"), ""),
        faces_file=shown.faces_file,
        dialogues=_dialogues(run, groups) if one_label else outputs.dialogues(run, groups),
        dialogue_count=len(run.test_dialogues()),
        turn_count=int((run.splits == "test").sum()),
        shown={run.utterances[i].utterance for rows in groups for i in rows},
        speakers=sorted({run.utterances[i].speaker for rows in groups for i in rows}),
        data=_data(run, groups) if one_label else {},
    )


def media_folder(root: str) -> str:
    """Return the URL of the media relative to results/, for a corpus inside the project; otherwise an empty string.

    Reports are shared, so they must not reveal private paths. The reader of such a page names the folder.
    """
    inside = not PurePath(root).is_absolute() and ".." not in PurePath(root).parts
    return quote(f"../{PurePath(root).as_posix()}/") if inside else ""


def _number(found: dict[str, Any], style: str, path: tuple[Any, ...]) -> Markup:
    """Return a number of details.json, rounded for display; the markup keeps its full value and its path."""
    value: Any = found
    for key in path:
        value = value[key]
    if value is None:
        return Markup('<span class="none" title="undefined: no utterances to count">–</span>')
    return Markup('<data value="{}" data-path="{}">{}</data>').format(
        repr(value), json.dumps(path, ensure_ascii=False), STYLES[style](value)
    )


def _dialogues(run: Run, groups: list[list[int]]) -> list[dict[str, Any]]:
    truth = run.truth
    probabilities = run.first.probabilities
    predicted = probabilities.argmax(axis=1)
    led = leaders(run.first) if run.first.without else np.full(len(truth), "")
    used = [s for s in run.streams if s.modality not in run.dropped]
    maps = next(iter((run.first.attention or {}).values()), [None] * len(groups))
    told = []
    for rows, whole, weights in zip(groups, run.test_dialogues(), maps, strict=False):
        turns = [
            {
                "row": i,
                "utterance": run.utterances[i],
                "clip": _clip(run.utterances[i].played),
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
        labelled = [i for i in whole if truth[i] >= 0]
        told.append(
            {
                "name": run.utterances[rows[0]].dialogue,
                "turns": turns,
                "length": len(whole),
                "right": sum(int(truth[i] == predicted[i]) for i in labelled),
                "scored": len(labelled),
                "mapped": rows == whole and len(rows) > 1 and weights is not None,
            }
        )
    return told


def _clip(played: Source) -> str:
    """Return the URL of an utterance relative to the folder of the media, with its seconds as a media fragment."""
    if not played.cell:
        return ""
    end = "" if played.end is None else f",{played.end:g}"
    span = "" if played.start is None and played.end is None else f"#t={played.start or 0:g}{end}"
    return quote(fragments.split(played.cell).file) + span


def _data(run: Run, groups: list[list[int]]) -> dict[str, Any]:
    """Return the data that the script shows on demand, in thousandths: probabilities by row, attention by dialogue.

    A row's probabilities are those of its `kept` label numbers, or of all labels if `kept` is empty.
    """
    rows = [i for group in groups for i in group]
    kept = {i: top(run.first.probabilities[i]) for i in rows}
    columns = {"": run.first.probabilities, **run.first.without}
    return {
        "labels": run.names,
        "modalities": list(run.first.without),
        "kept": kept if len(run.names) > TOP else {},
        "turns": {i: [_thousandths(p[i, kept[i]]) for p in columns.values()] for i in rows},
        "attention": [
            {
                "query": query,
                "key": key,
                "maps": [None if w is None else _thousandths(w) for w in maps[: len(groups)]],
            }
            for (query, key), maps in (run.first.attention or {}).items()
        ],
    }


def _thousandths(values: np.ndarray) -> list[Any]:
    rounded: list[Any] = np.rint(np.asarray(values, dtype=np.float64) * 1000).astype(int).tolist()
    return rounded
