"""The loss of the iterative model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.models.cross_entropy import wide
from train.models.iterative.network import Rounds


class EveryRound(nn.Module):
    """Mean over the rounds of the mean cross-entropy over the labelled utterances."""

    def forward(self, output: Rounds, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss for labels [U], -1 where unlabelled, as `total`, and the last round's as `ce`."""
        known = labels >= 0
        each = [F.cross_entropy(wide(logits)[known], labels[known]) for logits in output.rounds]
        return {"total": torch.stack(each).mean(), "ce": each[-1]}
