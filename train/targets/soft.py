"""A distribution over the labels, such as the shares of annotators' votes: cross-entropy against it.

The cross-entropy exceeds the Kullback-Leibler divergence KL(truth ‖ model) by the entropy of the truth, which no model
can change, so both have the same gradient. Scores against one label use the label with the most votes. An utterance
whose votes are tied has none and counts only for the divergence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pipeline.errors import UserError
from pipeline.tables.schema import LABELS
from train.selection import majority_f1, scores
from train.targets.single import Single, balanced
from train.truth import majority

if TYPE_CHECKING:
    from pipeline.params import TrainParams


class Soft(Single):
    """A distribution over K labels."""

    kind = "soft"

    @override
    @classmethod
    def of(cls, names: list[str], truth: Tensor, train: TrainParams) -> Self:
        most = majority(truth)
        return cls(names, torch.bincount(most[most >= 0], minlength=len(names)))

    @override
    def scores(self, logits: Tensor, truth: Tensor) -> dict[str, float]:
        """Return the loss, the divergence, and scores against the majority vote.

        Raises:
            UserError: the votes of every utterance are tied.
        """
        most = self._untied(truth)
        chosen = most >= 0
        return {
            **scores(logits[chosen], most[chosen]),
            "val_ce": self.loss(logits, truth).item(),
            "val_kl": divergence(truth.double(), logits.double().log_softmax(-1)).mean().item(),
        }

    @override
    def baseline(self, truth: Tensor) -> float:
        return majority_f1(self._untied(truth))

    @override
    def label(self, truth: Tensor) -> Tensor:
        return majority(truth)

    @override
    def sampling(self, truth: Tensor) -> Tensor:
        """Return 1 / the number of utterances with the same majority, or without one."""
        return balanced(majority(truth) + 1)

    @override
    def wanted(self, truth: Tensor, logits: Tensor) -> Tensor:
        return truth.to(logits.dtype)

    @override
    def shares(self, truth: Tensor) -> Tensor:
        return truth

    @staticmethod
    def _untied(truth: Tensor) -> Tensor:
        most = majority(truth)
        if not (most >= 0).any():
            raise UserError(
                f"{LABELS}: the votes of every labelled val utterance are tied, so no majority vote can choose the "
                "epoch; add val utterances with a majority"
            )
        return most


def divergence(truth: Tensor, logs: Tensor) -> Tensor:
    """Return KL(truth ‖ model), [n] in nats, for shares [n, K] and the logarithms of probabilities [n, K]."""
    return F.kl_div(logs, truth, reduction="none").sum(-1)
