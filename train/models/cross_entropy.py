"""Mean cross-entropy, the default loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.models.contract import Output


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the labelled utterances."""

    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Return the scalars `total` and `ce`.

        Args:
            output: the output for U utterances.
            labels: [U] long, -1 where unlabelled.
        """
        known = labels >= 0
        ce = F.cross_entropy(output.logits[known], labels[known])
        return {"total": ce, "ce": ce}


def wide(x: Tensor) -> Tensor:
    """Return bfloat16 as float32, and other types unchanged, because sums of exponentials need the precision."""
    return x.float() if x.dtype == torch.bfloat16 else x
