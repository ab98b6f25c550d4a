"""The loss of the goal alone, the default loss: cross-entropy for labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.models.contract import Output
from train.targets.goal import Goal
from train.truth import known


class PlainLoss(nn.Module):
    """The goal's loss over the labelled utterances.

    Args:
        goal: what the model learns.
    """

    def __init__(self, goal: Goal) -> None:
        super().__init__()
        self.goal = goal

    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Return the scalars `total` and the goal's term.

        Args:
            output: the output for U utterances.
            labels: the truth of the U utterances.
        """
        here = known(labels)
        loss = self.goal.loss(wide(output.logits[here]), labels[here])
        return {"total": loss, self.goal.term: loss}


def wide(x: Tensor) -> Tensor:
    """Return bfloat16 as float32, and other types unchanged, because sums of exponentials need the precision."""
    return x.float() if x.dtype == torch.bfloat16 else x
