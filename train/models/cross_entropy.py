"""Mean cross-entropy: the objective of every model that has none of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.models.contract import Output


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the labelled utterances.

    forward: Output of U utterances and labels [U] -> {"total", "ce"}, scalars. Utterances labelled -1 are left out.
    """

    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss under `total`, and each of its terms."""
        known = labels >= 0
        ce = F.cross_entropy(output.logits[known], labels[known])
        return {"total": ce, "ce": ce}


def wide(x: Tensor) -> Tensor:
    """Return bfloat16 as float32, and anything else as it is: sums of exponentials need the digits."""
    return x.float() if x.dtype == torch.bfloat16 else x
