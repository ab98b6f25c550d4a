"""The interface of what a model learns, as the networks' losses, the training loop and evaluation use it.

K is the number of outputs. train/truth.py describes the truth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from pipeline.params import TargetKind
from pipeline.tables.target import Target
from train.calibration import Calibration

if TYPE_CHECKING:
    from pipeline.params import TrainParams
    from train.record import Record


@dataclass(frozen=True, eq=False)
class Goal(ABC):
    """What a model learns.

    Attributes:
        names: the names of the K outputs.
        counts: [K] number of labelled train utterances per label, or of rated ones per value.
        kind: `corpus.target`.
        term: the name of its loss among the terms of a model's loss.
        main: the score on val that chooses the epoch; higher is better.
        title: its name for people.
        constant_name: the best constant answer, for people.
    """

    names: list[str]
    counts: Tensor

    kind: ClassVar[TargetKind]
    term: ClassVar[str] = "ce"
    main: ClassVar[str] = "weighted_f1"
    title: ClassVar[str] = "weighted F1"
    constant_name: ClassVar[str] = "the majority class"

    @classmethod
    @abstractmethod
    def of(cls, names: list[str], truth: Tensor, train: TrainParams) -> Self:
        """Return the goal for the truth of the train split. Arguments as in `goal_of`."""

    @classmethod
    def recorded(cls, record: Record) -> Self:
        """Return the goal of a trained model."""
        return cls(record.labels, torch.tensor(record.class_counts))

    def target(self) -> Target:
        """Return the target whose names these are."""
        return Target(self.names, self.kind)

    def record(self) -> dict[str, Any]:
        """Return the fields of `Record` from which `recorded` makes the goal again."""
        return {"target": self.kind, "labels": self.names, "class_counts": self.counts.tolist()}

    @abstractmethod
    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the mean loss of labelled utterances, a scalar; 0 for n = 0.

        Args:
            logits: [n, K], a model's outputs.
            truth: of the same utterances.
        """

    @abstractmethod
    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return [n], how far the answers of logits `student` [n, K] are from those of `teacher` [n, K]."""

    @abstractmethod
    def answers(self, logits: Tensor) -> Tensor:
        """Return probabilities, or values in their own unit, [n, K] of logits [n, K]."""

    @abstractmethod
    def constant(self, truth: Tensor) -> Tensor:
        """Return the logits [K] of the constant answer that fits the truth of labelled utterances best."""

    @abstractmethod
    def scores(self, logits: Tensor, truth: Tensor) -> dict[str, float]:
        """Return loss and scores of the labelled utterances of val, under keys `val_…`.

        Args:
            logits: [n, K].
            truth: of the same utterances.
        """

    @abstractmethod
    def baseline(self, truth: Tensor) -> float:
        """Return the score `main` of the best constant answer, for the truth of labelled utterances."""

    @abstractmethod
    def calibrated(self, logits: Tensor, truth: Tensor) -> Calibration:
        """Return what turns a model's answers into calibrated ones.

        Args:
            logits: [n, K] of the labelled utterances of val.
            truth: of the same utterances.
        """

    def scaled(self, truth: Tensor) -> Tensor:
        """Return the truth in the unit of a model's outputs."""
        return truth

    def sampling(self, truth: Tensor) -> Tensor:
        """Return the weights [n] with which labelled utterances are drawn, for models of single utterances."""
        return torch.ones(len(truth))
