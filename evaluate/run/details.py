"""Write all numbers (details.json), the main scores (metrics.json), and all predictions (predictions.csv)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluate.run import metrics
from evaluate.run.baselines import majority
from evaluate.run.metrics import METRICS
from evaluate.run.results import Prediction, Run, leaders
from evaluate.run.settings import settings
from pipeline import spreadsheet
from pipeline.disk import write_text
from pipeline.params import Params
from pipeline.tables.schema import SPLITS
from train.fusion.params import fusion

WRONG = 20
FAR = 0.1  # of weighted F1 between val and test
SCORED_KEYS = (*METRICS, "calibration_error", "calibration_error_before", "aurc", "risk_at_80")


def details(run: Run) -> dict[str, Any]:
    """Return all numbers of a run, ready for JSON and without NaN; a split without labelled rows has no scores."""
    truth = run.truth
    dialogue = np.array([u.dialogue for u in run.utterances])
    found: dict[str, Any] = {
        "labels": run.names,
        "shown_seed": run.first.seed,
        "splits": {},
        "seeds": [{"seed": p.seed, "splits": {}} for p in run.predictions],
    }
    for split in SPLITS:
        inside = run.splits == split
        rows = np.flatnonzero(inside & (truth >= 0))
        summary: dict[str, Any] = {
            "dialogues": len(set(dialogue[inside])),
            "utterances": int(inside.sum()),
            "scored": len(rows),
        }
        if len(rows):
            seeds = [_seed_scores(p, truth, rows, run.names) for p in run.predictions]
            for record, one in zip(found["seeds"], seeds, strict=True):
                record["splits"][split] = one
            predicted = np.stack([p.probabilities[rows].argmax(axis=1) for p in run.predictions])
            summary |= _over_seeds(seeds, run.names)
            ends = metrics.intervals(truth[rows], predicted, dialogue[rows], run.params.evaluate.bootstrap)
            for metric in METRICS:
                low, high = ends[metric] if ends else (None, None)
                summary[metric] |= {"low": low, "high": high}
        found["splits"][split] = summary
    test = np.flatnonzero((run.splits == "test") & (truth >= 0))
    found["majority"] = majority(run)
    found["modalities"] = _modalities(run, truth, test)
    found["wrong"] = _confidently_wrong(run, truth, test)
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
    found["hints"] = [*run.hints, *_gap(found["splits"])]
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
        scored = [_seed_scores(p, truth, test, run.names) for p in run.oracle]
        found["oracle_test"] = {metric: _mean(scored, metric) for metric in METRICS}
    return found


def short(found: dict[str, Any], params: Params) -> dict[str, Any]:
    """Return metrics.json for `dvc exp show` and `dvc metrics diff`: the main numbers of `details`, unrounded."""
    table: dict[str, Any] = {}
    for split, summary in found["splits"].items():
        if summary["scored"]:
            table[split] = {metric: summary[metric]["mean"] for metric in METRICS}
    if "test" in table:
        spread = found["splits"]["test"]["weighted_f1"]
        table["test"] |= {
            f"weighted_f1_{k}": spread[k] for k in ("low", "high", "sd") if spread[k] is not None
        }
    if params.train.normalise == "speaker":
        table["transductive"] = True
    if found["causal"]:
        table["causal"] = True
    if "oracle_test" in found:
        table["oracle_test"] = {metric: found["oracle_test"][metric]["mean"] for metric in METRICS}
    return table


def predictions_table(run: Run) -> pd.DataFrame:
    """Return one row per utterance.

    `seedN` is the label that one seed predicts. The label columns are mean probabilities over the seeds, and
    `predicted` is the most probable label by that mean.
    """
    mean = np.mean([p.probabilities for p in run.predictions], axis=0, dtype=np.float64)
    columns: dict[str, Any] = {
        "utterance": [u.utterance for u in run.utterances],
        "split": run.splits,
        "dialogue": [u.dialogue for u in run.utterances],
        "turn": [u.turn for u in run.utterances],
        "speaker": [u.speaker for u in run.utterances],
        "emotion": [run.names[i] if i >= 0 else "" for i in run.truth],
        "predicted": [run.names[i] for i in mean.argmax(axis=1)],
    }
    for p in run.predictions:
        columns[f"seed{p.seed}"] = [run.names[i] for i in p.probabilities.argmax(axis=1)]
    # A label may have the name of a column, so the label columns are concatenated instead of assigned by name.
    return pd.concat([pd.DataFrame(columns), pd.DataFrame(mean, columns=run.names)], axis=1)


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


def _seed_scores(
    prediction: Prediction, truth: np.ndarray, rows: np.ndarray, names: list[str]
) -> dict[str, Any]:
    probabilities = prediction.probabilities[rows]
    predicted = probabilities.argmax(axis=1)
    calibration = metrics.calibration(truth[rows], probabilities)
    confusion = metrics.confusion(truth[rows], predicted, len(names))
    shares = None if confusion is None else confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return {
        **metrics.scores(truth[rows], predicted, len(names)),
        "calibration_error": calibration["error"],
        "calibration_error_before": metrics.calibration(
            truth[rows], metrics.uncalibrated(probabilities, prediction.temperature)
        )["error"],
        "temperature": prediction.temperature,
        **metrics.selective(truth[rows], probabilities),
        "labels": metrics.per_label(truth[rows], predicted, names),
        "confusion": None if confusion is None else confusion.tolist(),
        "confusion_normalised": None if shares is None else shares.tolist(),
        "calibration": calibration["bins"],
    }


def _over_seeds(seeds: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    labels = {}
    for name in names:
        tables = [one["labels"][name] for one in seeds]
        labels[name] = {key: _mean(tables, key)["mean"] for key in ("precision", "recall", "f1")}
        labels[name] |= {"f1_sd": _mean(tables, "f1")["sd"], "support": tables[0]["support"]}
    return {**{key: _mean(seeds, key) for key in SCORED_KEYS}, "labels": labels}


def _mean(records: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Return mean, sample sd and single values over the seeds; mean and sd are None if too few are defined."""
    values = [record[key] for record in records]
    defined = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        "seeds": values,
    }


def _gap(splits: dict[str, Any]) -> list[str]:
    """Return a hint if val is far above test, else nothing."""
    val, test = (splits[part].get("weighted_f1", {}).get("mean") for part in ("val", "test"))
    if val is None or test is None or val - test < FAR:
        return []
    return [
        f"weighted F1 on val is {100 * (val - test):.1f} points above test: either test differs from val (other "
        "speakers or sessions; `train.val: speaker` chooses the epoch on speakers outside train), or the features come "
        "from weights that were fitted to the val utterances (`python -m pipeline.features info FILE` shows what is "
        "recorded)"
    ]


def _reads_later_turns(run: Run) -> list[str]:
    """Return the settings through which a feature depends on later turns."""
    contexts = {s.name: (s.encoder.get("context") or {}).get("future", 0) for s in run.streams}
    found = [f"context.future={count} of the stream {name}" for name, count in contexts.items() if count]
    return found + ["train.normalise=speaker"] * (run.params.train.normalise == "speaker")


def _modalities(run: Run, truth: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Return, per modality, the test scores with it hidden, the loss in score, and how many utterances it led."""
    if not run.first.without or not len(test):
        return {}
    led = Counter(leaders(run.first)[test])
    table = {}
    for modality in run.first.without:
        scored = [
            (
                metrics.scores(truth[test], p.probabilities[test].argmax(axis=1), len(run.names)),
                metrics.scores(truth[test], p.without[modality][test].argmax(axis=1), len(run.names)),
            )
            for p in run.predictions
        ]
        table[modality] = {
            "hidden": {m: float(np.mean([hidden[m] for _, hidden in scored])) for m in METRICS},
            "cost": {m: float(np.mean([full[m] - hidden[m] for full, hidden in scored])) for m in METRICS},
            "led": led[modality],
        }
    return table


def _confidently_wrong(run: Run, truth: np.ndarray, test: np.ndarray) -> list[dict[str, Any]]:
    probabilities = run.first.probabilities
    predicted = probabilities.argmax(axis=1)
    wrong = [i for i in test if predicted[i] != truth[i]]
    wrong.sort(key=lambda i: -probabilities[i, predicted[i]])
    return [
        {
            "utterance": run.utterances[i].utterance,
            "dialogue": run.utterances[i].dialogue,
            "turn": run.utterances[i].turn,
            "speaker": run.utterances[i].speaker,
            "text": run.utterances[i].text,
            "emotion": run.names[truth[i]],
            "predicted": run.names[predicted[i]],
            "probability": float(probabilities[i, predicted[i]]),
            "probability_of_true": float(probabilities[i, truth[i]]),
        }
        for i in wrong[:WRONG]
    ]


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {key: metrics.finite(value) if isinstance(value, float) else value for key, value in row.items()}
