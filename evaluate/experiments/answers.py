"""The test answers in a predictions.csv, and how each `corpus.target` scores them.

A column `seedN` (for values, a column `seedN NAME` per value) holds one seed's answers, `predicted` (`predicted NAME`)
those of the seeds' ensemble.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from typing_extensions import override

from evaluate.run import metrics
from evaluate.run.measures import multi, values
from pipeline.tables.target import BETWEEN

SEED, TOGETHER = "seed", "predicted"


class Answers(ABC):
    """The scored test utterances of an experiment, n rows.

    Args:
        table: its predictions.csv, all cells as text.

    Attributes:
        main: the score that p compares.
        table: the rows of the test split with any truth.
    """

    main: ClassVar[str]

    def __init__(self, table: pd.DataFrame) -> None:
        test = table[table["split"] == "test"]
        truth = test[self.names(table)]
        self.table = test[(truth != "").any(axis=1)].reset_index(drop=True)

    @classmethod
    def names(cls, table: pd.DataFrame) -> list[str]:
        """Return the columns of the truth."""
        return ["emotion"]

    @classmethod
    def columns(cls, table: pd.DataFrame, source: str) -> list[str]:
        """Return the columns of the answers of `source`: a seed, or the ensemble."""
        return [source]

    @property
    def truth(self) -> pd.DataFrame:
        """The utterances and their truth."""
        return self.table[["utterance", *self.names(self.table)]]

    @abstractmethod
    def resampled(self, drawn: np.ndarray, place: np.ndarray, source: str) -> np.ndarray:
        """Return the score `main` of the answers of `source` in resamples of whole dialogues, `[R]`.

        Args:
            drawn: `[R, D]`, how often each dialogue occurs in each resample.
            place: `[n]`, the dialogue number of each row.
            source: a seed, or the ensemble.
        """

    @abstractmethod
    def scores(self, source: str) -> dict[str, Any]:
        """Return {score: value}, and `labels`, the scores per label, where there are labels."""

    def agree(self) -> bool:
        """Return whether all seeds give each utterance the same answer."""
        answers = [self.table[self.columns(self.table, seed)].to_numpy() for seed in seeds(self.table)]
        return all((other == answers[0]).all() for other in answers)


class OneLabel(Answers):
    """One label per utterance, or the majority of votes."""

    main = "weighted_f1"

    @override
    def resampled(self, drawn: np.ndarray, place: np.ndarray, source: str) -> np.ndarray:
        truth, guess, _ = self._numbers(source)
        return metrics.resampled(drawn, place, truth, guess)[self.main]

    @override
    def scores(self, source: str) -> dict[str, Any]:
        truth, guess, names = self._numbers(source)
        labels = metrics.per_label(truth, guess, names)
        return {**metrics.scores(truth, guess, len(names)), "labels": labels}

    def _numbers(self, source: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
        truth, guess = self.table["emotion"], self.table[source]
        names = pd.Index(sorted({*truth, *guess}))
        return names.get_indexer(truth), names.get_indexer(guess), list(names)


class Summed(Answers):
    """Answers whose scores are functions of sums over the utterances."""

    @abstractmethod
    def sums(self, source: str) -> np.ndarray:
        """Return what each utterance adds to the sums, `[n, Q]`."""

    @abstractmethod
    def from_sums(self, totals: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the scores, `[...]` each, from sums `[..., Q]`."""

    @override
    def resampled(self, drawn: np.ndarray, place: np.ndarray, source: str) -> np.ndarray:
        each = self.sums(source)
        whole = np.zeros((drawn.shape[1], each.shape[1]))
        np.add.at(whole, place, each)
        return self.from_sums(drawn @ whole)[self.main]

    @override
    def scores(self, source: str) -> dict[str, Any]:
        found = self.from_sums(self.sums(source).sum(axis=0))
        return {name: metrics.finite(float(value)) for name, value in found.items()}


class SeveralLabels(Summed):
    """Several labels per utterance. An ensemble has no average precision."""

    main = "macro_f1"

    @override
    def sums(self, source: str) -> np.ndarray:
        parts = [
            [set(filter(None, cell.split(BETWEEN))) for cell in self.table[c]] for c in ("emotion", source)
        ]
        names = sorted(set().union(*parts[0], *parts[1]))
        truth, guess = (np.array([[name in cell for name in names] for cell in cells]) for cells in parts)
        return multi.sums(truth, guess)

    @override
    def from_sums(self, totals: np.ndarray) -> Mapping[str, np.ndarray]:
        return multi.from_sums(totals)


class Numbers(Summed):
    """Numbers: the means over the values."""

    main = "ccc"

    @override
    @classmethod
    def names(cls, table: pd.DataFrame) -> list[str]:
        return [c.removeprefix(f"{TOGETHER} ") for c in table if c.startswith(f"{TOGETHER} ")]

    @override
    @classmethod
    def columns(cls, table: pd.DataFrame, source: str) -> list[str]:
        return [f"{source} {name}" for name in cls.names(table)]

    @override
    def sums(self, source: str) -> np.ndarray:
        pairs = zip(self.names(self.table), self.columns(self.table, source), strict=True)
        parts = [values.moments(*(self._floats(column) for column in pair)) for pair in pairs]
        return np.concatenate(parts, axis=1)

    @override
    def from_sums(self, totals: np.ndarray) -> Mapping[str, np.ndarray]:
        count = totals.shape[-1] // values.MOMENTS
        each = [values.moments_scores(part) for part in np.split(totals, count, axis=-1)]
        return {name: np.mean([one[name] for one in each], axis=0) for name in values.Numbers.metrics}

    def _floats(self, column: str) -> np.ndarray:
        found: np.ndarray = pd.to_numeric(self.table[column]).to_numpy(float)  # an empty cell is NaN
        return found


def seeds(table: pd.DataFrame) -> list[str]:
    """Return the seeds of a predictions.csv: seed0, seed1, …"""
    first = dict.fromkeys(str(column).split(" ")[0] for column in table)
    return [name for name in first if name.startswith(SEED) and name[len(SEED) :].isdigit()]


def kind_of(test: Mapping[str, Any]) -> type[Answers]:
    """Return how an experiment is scored, by `splits.test` of its details.json."""
    if "ccc" in test:
        return Numbers
    return SeveralLabels if "micro_f1" in test else OneLabel
