"""Several labels per utterance: binary cross-entropy, and a threshold per label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from train.calibration import Calibration, temperature
from train.targets.goal import Goal
from train.truth import known

if TYPE_CHECKING:
    from pipeline.params import TrainParams

HALF = 0.5


class Multi(Goal):
    """Any of K labels. Macro F1 chooses the epoch, with the thresholds that are best for its val answers."""

    kind = "multi"
    main = "macro_f1"
    title = "macro F1"
    constant_name = "the answer that every label applies"

    @override
    @classmethod
    def of(cls, names: list[str], truth: Tensor, train: TrainParams) -> Self:
        return cls(names, truth[known(truth)].sum(0).long())

    @override
    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return binary cross-entropy, the sum over the labels and the mean over the utterances."""
        wanted = truth.to(logits.dtype)
        total = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        return total / max(1, len(logits))

    @override
    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the sum over the labels of KL(teacher ‖ student) of the two Bernoulli distributions."""
        total = teacher.new_zeros(len(teacher))
        for sign in (1, -1):
            p, q = F.logsigmoid(sign * teacher), F.logsigmoid(sign * student)
            total = total + (p.exp() * (p - q)).sum(-1)
        return total

    @override
    def answers(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    @override
    def constant(self, truth: Tensor) -> Tensor:
        # Laplace smoothing, as for single labels.
        return torch.logit((truth.sum(0) + 1) / (len(truth) + 2))

    @override
    def scores(self, logits: Tensor, truth: Tensor) -> dict[str, float]:
        wanted, found = truth.bool().numpy(), self.answers(logits).numpy()
        guess = found >= thresholds(found, wanted)
        return {
            "val_ce": self.loss(logits, truth).item(),
            "val_macro_f1": float(f1_score(wanted, guess, average="macro", zero_division=0)),
            "val_micro_f1": float(f1_score(wanted, guess, average="micro", zero_division=0)),
            "val_subset_accuracy": float((wanted == guess).all(1).mean()),
            "val_map": mean_precision(wanted, found),
        }

    @override
    def baseline(self, truth: Tensor) -> float:
        wanted = truth.bool().numpy()
        return float(f1_score(wanted, np.ones_like(wanted), average="macro", zero_division=0))

    @override
    def calibrated(self, logits: Tensor, truth: Tensor) -> Calibration:
        heat = temperature(logits, truth, self.loss)
        found = thresholds(self.answers(logits / heat).numpy(), truth.bool().numpy())
        return Calibration(heat, found.tolist())


def thresholds(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the thresholds [K] with the highest F1 of each label; 0.5 for a label that never applies.

    Each is the middle between two neighbouring probabilities, so that rounding does not change an answer.

    Args:
        found: [n, K] probabilities.
        wanted: [n, K] bool.
    """
    best = np.full(found.shape[1], HALF)
    for k in np.flatnonzero(wanted.any(0)):
        precision, recall, levels = precision_recall_curve(wanted[:, k], found[:, k])
        top = precision[:-1] + recall[:-1]
        f1 = np.divide(2 * precision[:-1] * recall[:-1], top, out=np.zeros_like(top), where=top > 0)
        at = int(f1.argmax())
        best[k] = (levels[at] + (levels[at - 1] if at else 0.0)) / 2
    return best


def average_precisions(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the average precision of each label [K], NaN for a label that never applies.

    Args:
        wanted: [n, K] bool.
        found: [n, K] probabilities.
    """
    each = np.full(found.shape[1], np.nan)
    for k in np.flatnonzero(wanted.any(0)):
        each[k] = average_precision_score(wanted[:, k], found[:, k])
    return each


def mean_precision(wanted: np.ndarray, found: np.ndarray) -> float:
    """Return the mean of `average_precisions` over the labels that occur, NaN if none does."""
    each = average_precisions(wanted, found)
    there = ~np.isnan(each)
    return float(each[there].mean()) if there.any() else math.nan
