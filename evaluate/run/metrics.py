"""Compute the scores of one split from label numbers: `[n]` true against `[n]` predicted.

scikit-learn computes them. Scores of absent labels are undefined (None), and averages leave them out: macro F1 averages
over labels that occur in truth or prediction, unweighted accuracy over labels that occur in truth. These are the
definitions of scikit-learn (`f1_score(average="macro")`, `balanced_accuracy_score`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
)

from evaluate.run.resamples import draw, percentiles

METRICS = ("weighted_f1", "macro_f1", "accuracy", "unweighted_accuracy")
BINS = 15
MATRIX = 50  # labels; larger confusion matrices are unreadable
BLOCK = 1 << 20  # counts per block of resamples


def scores(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    """Return the four scores of `METRICS`; `accuracy` is the papers' WA, `unweighted_accuracy` their UA.

    Args:
        truth: `[n]` true label numbers below `classes`, n ≥ 1.
        predicted: `[n]` predicted label numbers below `classes`.
        classes: how many labels there are.
    """
    occurring = np.union1d(truth, predicted)
    return {
        "weighted_f1": float(f1_score(truth, predicted, average="weighted", zero_division=0)),
        "macro_f1": float(f1_score(truth, predicted, labels=occurring, average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(truth, predicted)),
        "unweighted_accuracy": float(
            recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
        ),
    }


def per_label(truth: np.ndarray, predicted: np.ndarray, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return precision, recall, f1 (None if undefined) and support per label name, from `[n]` label numbers."""
    columns = precision_recall_fscore_support(
        truth, predicted, labels=range(len(names)), average=None, zero_division=np.nan
    )
    keys = ("precision", "recall", "f1")
    table = {}
    for i, name in enumerate(names):
        table[name] = {key: finite(column[i]) for key, column in zip(keys, columns, strict=False)}
        table[name]["support"] = int(columns[3][i])
    return table


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray | None:
    """Return `[C, C]` counts, rows true and columns predicted labels; None for more than MATRIX labels."""
    if classes > MATRIX:
        return None
    counts: np.ndarray = confusion_matrix(truth, predicted, labels=range(classes))
    return counts


def calibration(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Return the expected calibration error over 15 equal bins of confidence (Guo et al. 2017, eq. 3), and the bins.

    Args:
        truth: `[n]` label numbers.
        probabilities: `[n, C]`.

    Returns:
        `error`, and `bins`: one `{low, high, count, confidence, accuracy}` per nonempty bin (low, high].
    """
    confidence = probabilities.max(axis=1).astype(float)
    correct = probabilities.argmax(axis=1) == truth
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for b in np.unique(index):
        inside = index == b
        bins.append(
            {
                "low": int(b) / BINS,
                "high": (int(b) + 1) / BINS,
                "count": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(correct[inside].mean()),
            }
        )
    error = sum(b["count"] / len(truth) * abs(b["accuracy"] - b["confidence"]) for b in bins)
    return {"error": float(error), "bins": bins}


def uncalibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities `[n, C]` that a calibration with `temperature` started from."""
    raw: np.ndarray = probabilities.astype(float) ** temperature
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def selective(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return what is gained by leaving the least confident utterances open (Geifman and El-Yaniv 2017, section 2).

    The risk at a coverage is the share of errors among the utterances that are answered, the most confident first.

    Args:
        truth: `[n]` label numbers.
        probabilities: `[n, C]`.

    Returns:
        `aurc`: the mean of the risks at all n coverages; `risk_at_80`: the risk if 80 % are answered.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    wrong = probabilities.argmax(axis=1)[order] != truth[order]
    risks = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    return {"aurc": float(risks.mean()), "risk_at_80": float(risks[max(0, round(0.8 * len(risks)) - 1)])}


def intervals(
    truth: np.ndarray, predicted: np.ndarray, dialogue: np.ndarray, resamples: int
) -> dict[str, tuple[float, float]] | None:
    """Return 95% percentile bootstrap intervals of each score, averaged over the seeds.

    Whole dialogues are drawn, because turns of one dialogue are not independent. Seeds are not resampled: the interval
    measures variation between recordings, the sd over seeds variation between trainings.

    Args:
        truth: `[n]` label numbers.
        predicted: `[S, n]`, one row per seed.
        dialogue: `[n]` identifiers of the dialogues.
        resamples: how many resamples to draw.

    Returns:
        {metric: (low, high)}, or None for fewer than two dialogues.
    """
    found = draw(dialogue, resamples)
    if found is None:
        return None
    drawn, place = found
    return percentiles([resampled(drawn, place, truth, row) for row in predicted])


def resampled(
    drawn: np.ndarray, place: np.ndarray, truth: np.ndarray, predicted: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the scores of `METRICS`, `[R]` each, for resamples of whole dialogues.

    The counts of a resample are sums of its dialogues' counts. Absent labels are dropped and resamples are processed in
    blocks, so memory does not grow with `corpus.labels`.

    Args:
        drawn: `[R, D]`, how often each dialogue occurs in each resample.
        place: `[n]`, the dialogue number of each row.
        truth: `[n]` true label numbers.
        predicted: `[n]` predicted label numbers.
    """
    labels, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    true, claimed = np.split(codes, 2)
    hits = true == claimed
    counts = [
        _counts(place[rows], values[rows], (drawn.shape[1], len(labels)))
        for rows, values in ((hits, true), (slice(None), true), (slice(None), claimed))
    ]
    step = max(1, BLOCK // len(labels))
    blocks = [
        from_counts(*(np.tensordot(drawn[i : i + step], count, axes=1) for count in counts))
        for i in range(0, len(drawn), step)
    ]
    return {metric: np.concatenate([block[metric] for block in blocks]) for metric in METRICS}


def from_counts(hits: np.ndarray, support: np.ndarray, claimed: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of `METRICS`, `[...]` each, from counts per label `[..., C]`.

    Args:
        hits: correct predictions.
        support: true labels.
        claimed: predictions.
    """
    f1 = _ratio(2.0 * hits, support + claimed)
    recall = _ratio(hits.astype(float), support)
    total = support.sum(axis=-1)
    return {
        "weighted_f1": (f1 * support).sum(axis=-1) / total,
        "macro_f1": f1.sum(axis=-1) / (support + claimed > 0).sum(axis=-1),
        "accuracy": hits.sum(axis=-1) / total,
        "unweighted_accuracy": recall.sum(axis=-1) / (support > 0).sum(axis=-1),
    }


def _counts(place: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (place, values), 1)
    return counts


def finite(value: float) -> float | None:
    """Return `value` as a float, or None if it is not finite, because JSON has neither NaN nor infinity."""
    return float(value) if np.isfinite(value) else None


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    return ratio
