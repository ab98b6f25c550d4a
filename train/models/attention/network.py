"""MERBench's `attention` (Lian et al., 2024, arXiv 2401.03429): a weighted sum of the modalities' hidden vectors.

h_m = MLP(x_m); w = Linear(MLP([h_text; h_audio; h_visual])), without softmax; logits = Linear(Σ w_m h_m). The weights
may be negative. A missing feature has h_m = 0 and adds nothing to either sum.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from train.layers.hidden import MLP, Hidden
from train.models.attention import Params
from train.models.contract import Batch, Output


class Attention(nn.Module):
    """The network.

    Args:
        dims: modality → feature size, modalities in use only.
        classes: number of labels.
        params: sizes.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        d, count = params.dim, len(dims)
        self.hidden = Hidden(dims, d, params.dropout)
        self.weigh = nn.Sequential(MLP(count * d, d, params.dropout), nn.Linear(d, count))
        self.classify = nn.Linear(d, classes)

    def forward(self, batch: Batch) -> Output:
        """Return the logits of the U real utterances, in dialogue-then-turn order."""
        hidden = self.hidden(batch)
        weights = self.weigh(torch.cat(hidden, -1))
        fused = (weights[:, :, None] * torch.stack(hidden, 1)).sum(1)
        return Output(logits=self.classify(fused))
