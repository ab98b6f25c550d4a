"""Several labels per utterance.

Macro F1 averages over the labels that occur in truth or answers; micro F1 pools all labels. Subset accuracy is the
share of utterances whose labels are all right. Average precision does not depend on the thresholds (scikit-learn's
`average_precision_score`); its mean is over the labels that occur in the truth, and it has no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support
from typing_extensions import override

from evaluate.run import metrics, resamples
from evaluate.run.measures.measure import Ends, Measure, mean, mean_answers
from evaluate.run.results import Prediction
from pipeline.tables.target import BETWEEN
from train.targets.multi import average_precisions, mean_precision

KEYS = ("precision", "recall", "f1", "average_precision")


class Several(Measure):
    """The labels whose probability reaches their threshold against the true ones."""

    metrics = ("macro_f1", "micro_f1", "subset_accuracy", "mean_average_precision")

    @override
    def scores(self, answers: np.ndarray, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        truth = self.run.truth[rows] > 0
        found = from_sums(sums(truth, applies(answers[rows], prediction)).sum(axis=0))
        return {
            **{name: metrics.finite(float(value)) for name, value in found.items()},
            "mean_average_precision": metrics.finite(mean_precision(truth, answers[rows])),
        }

    @override
    def details(self, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        truth, answers = self.run.truth[rows] > 0, prediction.probabilities[rows]
        guess = applies(answers, prediction)
        columns = precision_recall_fscore_support(truth, guess, average=None, zero_division=np.nan)
        precisions = average_precisions(truth, answers)
        labels = {
            name: {
                **{key: metrics.finite(column[i]) for key, column in zip(KEYS[:3], columns, strict=False)},
                "average_precision": metrics.finite(precisions[i]),
                "threshold": prediction.thresholds[i],
                "support": int(columns[3][i]),
                "predicted": int(guess[:, i].sum()),
            }
            for i, name in enumerate(self.run.names)
        }
        return {
            **self.scores(prediction.probabilities, prediction, rows),
            "temperature": prediction.temperature,
            "labels": labels,
        }

    @override
    def over_seeds(self, seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        labels = {}
        for name in self.run.names:
            tables = [one["labels"][name] for one in seeds]
            labels[name] = {key: mean(tables, key)["mean"] for key in KEYS}
            labels[name] |= {"f1_sd": mean(tables, "f1")["sd"], "support": tables[0]["support"]}
        return {**{key: mean(seeds, key) for key in self.metrics}, "labels": labels}

    @override
    def intervals(self, rows: np.ndarray) -> Ends | None:
        truth = self.run.truth[rows] > 0
        each = [sums(truth, applies(p.probabilities[rows], p)) for p in self.run.predictions]
        count = self.run.params.evaluate.bootstrap
        return resamples.intervals(each, self.run.dialogues[rows], count, from_sums)

    @override
    def columns(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        run = self.run
        average = mean_answers(run)
        thresholds = np.mean([p.thresholds for p in run.predictions], axis=0)
        columns = {"emotion": self.cells(run.truth > 0), "predicted": self.cells(average >= thresholds)}
        for p in run.predictions:
            columns[f"seed{p.seed}"] = self.cells(applies(p.probabilities, p))
        return columns, dict(zip(run.names, average.T, strict=True))

    @override
    def constant(self, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Return that every label applies, the constant answer with the highest macro F1."""
        return "every label", np.ones(len(self.run.names))

    def cells(self, there: np.ndarray) -> list[str]:
        """Return the labels of each row of `[N, K]` bool, as labels.csv writes them."""
        return [
            BETWEEN.join(name for name, here in zip(self.run.names, row, strict=True) if here)
            for row in there
        ]


def applies(answers: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Return which labels apply, bool like `answers` `[n, K]`."""
    there: np.ndarray = answers >= np.array(prediction.thresholds)
    return there


def sums(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return what each utterance adds to the sums of `from_sums`, `[n, 3 K + 2]`, from `[n, K]` bool."""
    right = (truth == guess).all(axis=1)
    return np.column_stack([truth & guess, truth, guess, right, np.ones(len(truth))]).astype(float)


def from_sums(totals: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores without average precision, `[...]` each, from sums `[..., 3 K + 2]`."""
    hits, support, claimed = np.split(totals[..., :-2], 3, axis=-1)
    both = support + claimed
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    with np.errstate(invalid="ignore"):  # no label occurs: undefined
        return {
            "macro_f1": f1.sum(axis=-1) / (both > 0).sum(axis=-1),
            "micro_f1": 2 * hits.sum(axis=-1) / both.sum(axis=-1),
            "subset_accuracy": totals[..., -2] / totals[..., -1],
        }
