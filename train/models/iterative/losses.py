"""The loss of the iterative model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.models.iterative.network import Rounds
from train.models.plain_loss import wide
from train.targets.goal import Goal
from train.truth import known


class EveryRound(nn.Module):
    """Mean over the rounds of the goal's loss over the labelled utterances.

    Args:
        goal: what the model learns.
    """

    def __init__(self, goal: Goal) -> None:
        super().__init__()
        self.goal = goal

    def forward(self, output: Rounds, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss for the truth of U utterances as `total`, and the last round's as the goal's term."""
        here = known(labels)
        each = [self.goal.loss(wide(logits)[here], labels[here]) for logits in output.rounds]
        return {"total": torch.stack(each).mean(), self.goal.term: each[-1]}
