"""Write all numbers (details.json), the main scores (metrics.json), and all predictions (predictions.csv)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluate.run import metrics
from evaluate.run.measures import MEASURES, measure_of
from evaluate.run.measures.measure import NAMES, Measure, mean
from evaluate.run.results import Run
from evaluate.run.settings import settings
from pipeline import spreadsheet
from pipeline.disk import write_text
from pipeline.params import Params
from pipeline.tables.schema import SPLITS
from train.fusion.params import fusion

FAR = 0.1  # of the main score between val and test


def details(run: Run) -> dict[str, Any]:
    """Return all numbers of a run, ready for JSON and without NaN; a split without labelled rows has no scores."""
    measure = measure_of(run)
    found: dict[str, Any] = {
        "labels": run.names,
        "shown_seed": run.first.seed,
        "splits": {},
        "seeds": [{"seed": p.seed, "splits": {}} for p in run.predictions],
    }
    for split in SPLITS:
        inside = run.splits == split
        rows = np.flatnonzero(inside & measure.known)
        summary: dict[str, Any] = {
            "dialogues": len(set(run.dialogues[inside])),
            "utterances": int(inside.sum()),
            "scored": len(rows),
        }
        if len(rows):
            seeds = [measure.details(p, rows) for p in run.predictions]
            for record, one in zip(found["seeds"], seeds, strict=True):
                record["splits"][split] = one
            summary |= measure.over_seeds(seeds)
            ends = measure.intervals(rows) or {}
            for metric in measure.metrics:
                low, high = ends.get(metric, (None, None))
                summary[metric] |= {"low": low, "high": high}
        found["splits"][split] = summary
    test = np.flatnonzero((run.splits == "test") & measure.known)
    found["majority"] = _majority(run, measure, test)
    found["logistic_regression"] = (
        measure.scores(run.logistic.probabilities, run.logistic, test) if run.logistic and len(test) else None
    )
    found["modalities"] = _modalities(run, measure, test)
    found["wrong"] = measure.wrong(test)
    found["streams"] = [
        {
            "stream": s.name,
            "modality": s.modality,
            "encoder": s.encoder,
            "weights": s.weights,
            "status": dict(sorted(Counter(s.status).items())),
        }
        for s in run.streams
    ]
    found["dropped"] = run.dropped
    chosen, later = fusion(run.params), _reads_later_turns(run)
    found["causal"] = chosen.causal and not later
    found["hints"] = [*run.hints, *_gap(found["splits"], measure.metrics[0])]
    if chosen.causal and later and "causal" in chosen.record()["model"]:
        found["hints"].append(
            f"model.causal is true, but features depend on later turns through {' and '.join(later)}, so the answers "
            "are not causal"
        )
    found["params"] = settings(run.params)
    found["history"] = [
        {
            "seed": seed,
            "best_epoch": run.best_epoch[seed],
            "epochs": [_without_nan(row) for row in frame.to_dict("records")],
        }
        for seed, frame in sorted(run.history.items())
    ]
    if run.oracle and len(test):
        scored = [measure.details(p, test) for p in run.oracle]
        found["oracle_test"] = {metric: mean(scored, metric) for metric in measure.metrics}
    return found


def short(found: dict[str, Any], params: Params) -> dict[str, Any]:
    """Return metrics.json for `dvc exp show` and `dvc metrics diff`: the main numbers of `details`, unrounded."""
    table: dict[str, Any] = {}
    metrics = MEASURES[params.corpus.target].metrics
    for split, summary in found["splits"].items():
        if summary["scored"]:
            table[split] = {metric: summary[metric]["mean"] for metric in metrics}
    if "test" in table:
        spread = found["splits"]["test"][metrics[0]]
        table["test"] |= {
            f"{metrics[0]}_{k}": spread[k] for k in ("low", "high", "sd") if spread[k] is not None
        }
    if params.train.normalise == "speaker":
        table["transductive"] = True
    if found["causal"]:
        table["causal"] = True
    if "oracle_test" in found:
        table["oracle_test"] = {metric: found["oracle_test"][metric]["mean"] for metric in metrics}
    return table


def predictions_table(run: Run) -> pd.DataFrame:
    """Return one row per utterance: the truth, the answers, and the mean probabilities (or values) over the seeds.

    `seedN` is the answer of one seed, and `predicted` the answer by the mean over the seeds.
    """
    answers, means = measure_of(run).columns()
    columns: dict[str, Any] = {
        "utterance": [u.utterance for u in run.utterances],
        "split": run.splits,
        "dialogue": [u.dialogue for u in run.utterances],
        "turn": [u.turn for u in run.utterances],
        "speaker": [u.speaker for u in run.utterances],
    }
    # A label may have the name of a column, so the label columns are concatenated instead of assigned by name.
    return pd.concat([pd.DataFrame({**columns, **answers}), pd.DataFrame(means)], axis=1)


def write(run: Run, found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the three files into `folder`, with equal bytes for equal runs, and return metrics.json."""
    table = short(found, run.params)
    for name, content in (("metrics.json", table), ("details.json", found)):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(folder / name, text + "\n")
    answers = predictions_table(run)
    write_text(folder / "predictions.csv", answers.to_csv(index=False, lineterminator="\n"))
    spreadsheet.warn([*answers.columns, *answers.to_numpy(dtype=object).ravel()], folder / "predictions.csv")
    return table


def _gap(splits: dict[str, Any], main: str) -> list[str]:
    """Return a hint if val is far above test in the main score, else nothing."""
    val, test = (splits[part].get(main, {}).get("mean") for part in ("val", "test"))
    if val is None or test is None or val - test < FAR:
        return []
    return [
        f"{NAMES[main]} on val is {100 * (val - test):.1f} points above test: either test differs from val (other "
        "speakers or sessions; `train.val: speaker` chooses the epoch on speakers outside train), or the features come "
        "from weights that were fitted to the val utterances (`python -m pipeline.features info FILE` shows what is "
        "recorded)"
    ]


def _majority(run: Run, measure: Measure, test: np.ndarray) -> dict[str, Any] | None:
    """Return the constant answer that fits the train split and its scores on test.

    It is the most frequent label, or what `Measure.constant` says. None if one of the splits has no labels.
    """
    train = np.flatnonzero((run.splits == "train") & measure.known)
    if not len(train) or not len(test):
        return None
    label, answer = measure.constant(train)
    answers = np.broadcast_to(answer, run.first.probabilities.shape)
    return {"label": label, **measure.scores(answers, run.first, test)}


def _reads_later_turns(run: Run) -> list[str]:
    """Return the settings through which a feature depends on later turns."""
    contexts = {s.name: (s.encoder.get("context") or {}).get("future", 0) for s in run.streams}
    found = [f"context.future={count} of the stream {name}" for name, count in contexts.items() if count]
    return found + ["train.normalise=speaker"] * (run.params.train.normalise == "speaker")


def _modalities(run: Run, measure: Measure, test: np.ndarray) -> dict[str, Any]:
    """Return, per modality, the test scores with it hidden, the loss in score, and how many utterances it led."""
    if not run.first.without or not len(test):
        return {}
    led = Counter(measure.leaders(run.first)[test])
    full = [measure.scores(p.probabilities, p, test) for p in run.predictions]
    table = {}
    for modality in run.first.without:
        hidden = [measure.scores(p.without[modality], p, test) for p in run.predictions]
        lost = [
            {m: None if None in (a[m], b[m]) else a[m] - b[m] for m in measure.metrics}
            for a, b in zip(full, hidden, strict=True)
        ]
        table[modality] = {
            "hidden": {m: mean(hidden, m)["mean"] for m in measure.metrics},
            "cost": {m: mean(lost, m)["mean"] for m in measure.metrics},
            "led": led[modality],
        }
    return table


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {key: metrics.finite(value) if isinstance(value, float) else value for key, value in row.items()}
