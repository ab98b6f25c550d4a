"""One label per utterance: cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pipeline.params import TargetKind
from train.calibration import Calibration, temperature
from train.selection import majority_f1, scores
from train.targets.goal import Goal

if TYPE_CHECKING:
    from pipeline.params import TrainParams


class Single(Goal):
    """One of K labels. Soft labels share all but the truth."""

    kind: ClassVar[TargetKind] = "single"

    @override
    @classmethod
    def of(cls, names: list[str], truth: Tensor, train: TrainParams) -> Self:
        return cls(names, torch.bincount(truth[truth >= 0], minlength=len(names)))

    @override
    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        # `mean` would be NaN if no utterance is labelled.
        return F.cross_entropy(logits, self.wanted(truth, logits), reduction="sum") / max(1, len(logits))

    @override
    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the Kullback-Leibler divergence of the two distributions."""
        p, q = F.log_softmax(teacher, -1), F.log_softmax(student, -1)
        return (p.exp() * (p - q)).sum(-1)

    @override
    def answers(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    @override
    def constant(self, truth: Tensor) -> Tensor:
        # Laplace smoothing: a label that is absent from training gets a small probability instead of 0.
        shares = self.shares(truth).sum(0) + 1
        return torch.log(shares / shares.sum())

    @override
    def scores(self, logits: Tensor, truth: Tensor) -> dict[str, float]:
        return scores(logits, truth)

    @override
    def baseline(self, truth: Tensor) -> float:
        return majority_f1(truth)

    @override
    def calibrated(self, logits: Tensor, truth: Tensor) -> Calibration:
        return Calibration(temperature(logits, truth, self.loss))

    def label(self, truth: Tensor) -> Tensor:
        """Return [n] long, the one label of each utterance; -1 where there is none."""
        return truth

    @override
    def sampling(self, truth: Tensor) -> Tensor:
        """Return 1 / the number of utterances with the same label, as Foal-Net was published."""
        return balanced(truth)

    def wanted(self, truth: Tensor, logits: Tensor) -> Tensor:
        """Return the truth as `cross_entropy` of these logits needs it."""
        return truth

    def shares(self, truth: Tensor) -> Tensor:
        """Return [n, K], the share of each label in the truth of labelled utterances."""
        return F.one_hot(truth, len(self.names))


def balanced(labels: Tensor) -> Tensor:
    """Return sampling weights [n] for labels [n] ≥ 0: 1 / the number of labels of the same emotion."""
    return 1 / torch.bincount(labels)[labels].float()
