"""The interface of a measure: the scores of a run's answers, their intervals, and its table of predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from evaluate.run.results import Prediction, Run

Ends = dict[str, tuple[float, float]]
# The scores' names for people, in the terminal and in hints. The report has its own, longer ones.
NAMES = {
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "unweighted_accuracy": "unweighted acc.",
    "kl": "KL (nats)",
    "micro_f1": "micro F1",
    "subset_accuracy": "subset accuracy",
    "mean_average_precision": "mean AP",
    "ccc": "CCC",
    "pearson": "Pearson r",
    "mae": "MAE",
}
# Scores in their own unit, which are not shown in percent.
PLAIN = ("kl", "ccc", "pearson", "mae")


class Measure(ABC):
    """How a run is scored.

    Args:
        run: the run.

    Attributes:
        metrics: the scores, the main one first.
    """

    metrics: ClassVar[tuple[str, ...]]

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def known(self) -> np.ndarray:
        """[N] bool, which utterances are scored: those with any truth."""
        return np.asarray(~np.isnan(self.run.truth).all(axis=1))

    @abstractmethod
    def scores(self, answers: np.ndarray, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        """Return the scores `metrics`, None where undefined.

        Args:
            answers: `[N, K]`, all answers of a model, or its answers with a modality hidden.
            prediction: the model's predictions, which has its thresholds.
            rows: `[n]` numbers of scored rows, n ≥ 1.
        """

    @abstractmethod
    def details(self, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        """Return the scores of one seed, and everything else that details.json holds of it. Arguments as above."""

    @abstractmethod
    def over_seeds(self, seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return mean and sd over the seeds of what `details` returns for each of them."""

    @abstractmethod
    def intervals(self, rows: np.ndarray) -> Ends | None:
        """Return {metric: (low, high)}, 95% bootstrap intervals over dialogues of the mean over the seeds.

        None for fewer than two dialogues. A score without an interval is left out.
        """

    @abstractmethod
    def columns(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the columns of predictions.csv: truth and answers, and the mean answers over the seeds by output."""

    def leaders(self, prediction: Prediction) -> np.ndarray:
        """Return `[N]` names: the modality whose hiding changes the answers most, summed over the outputs.

        '' if none changes them.
        """
        names = np.array(list(prediction.without), dtype=object)
        changes = np.stack(
            [np.abs(prediction.probabilities - x).sum(axis=1) for x in prediction.without.values()]
        )
        return np.where(changes.max(axis=0) > 0, names[changes.argmax(axis=0)], "")

    @abstractmethod
    def constant(self, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Return the constant answer that fits some rows: its name, and `[K]` like a model's answers."""

    def wrong(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return the most confident errors among some rows, for targets where an answer is right or wrong."""
        return []


def mean(records: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """Return mean, sample sd and single values over the seeds; mean and sd are None if too few are defined."""
    values = [record[key] for record in records]
    defined = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        "seeds": values,
    }


def mean_answers(run: Run) -> np.ndarray:
    """Return the mean of the answers over the seeds, `[N, K]` float64."""
    return np.asarray(np.mean([p.probabilities for p in run.predictions], axis=0, dtype=np.float64))
