"""The network of MERBench's `attention` (Lian et al., 2024, arXiv 2401.03429).

    h_m = MLP(x_m)
    w = Linear(MLP([h_text; h_audio; h_visual])), without softmax
    logits = Linear(Σ_m w_m h_m)

h_m is 0 if the feature of modality m is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from train.layers.hidden import MLP, Hidden
from train.models.attention import Params
from train.models.contract import Batch, Output


class Attention(nn.Module):
    """The attention network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        d, count = params.dim, len(dims)
        self.hidden = Hidden(dims, d, params.dropout)
        self.weigh = nn.Sequential(MLP(count * d, d, params.dropout), nn.Linear(d, count))
        self.classify = nn.Linear(d, classes)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        hidden = self.hidden(batch)
        weights = self.weigh(torch.cat(hidden, -1))
        fused = (weights[:, :, None] * torch.stack(hidden, 1)).sum(1)
        return Output(logits=self.classify(fused))
