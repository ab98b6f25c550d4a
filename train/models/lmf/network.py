"""LMF (Liu et al., ACL 2018, doi 10.18653/v1/P18-1209): a tensor product of the modalities, of low rank.

h_m = MLP(x_m); fused = Σ_r v_r · Π_m [h_m; 1] W_m^(r) + b, products by element; logits = Linear(fused). The appended 1
is the bias of a dense layer here. A missing feature has h_m = 0: its factor is that bias, whatever the feature was.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from train.layers.hidden import Hidden
from train.models.contract import Batch, Output
from train.models.lmf import Params


class LMF(nn.Module):
    """The network.

    Args:
        dims: modality → feature size, modalities in use only.
        classes: number of labels.
        params: sizes and rank.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        d, rank = params.dim, params.rank
        self.hidden = Hidden(dims, d, params.dropout)
        self.factors = nn.ModuleList(nn.Linear(d, rank * d) for _ in dims)
        self.mix = nn.Linear(rank, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(d))
        self.classify = nn.Linear(d, classes)

    def forward(self, batch: Batch) -> Output:
        """Return the logits of the U real utterances, in dialogue-then-turn order."""
        hidden = self.hidden(batch)
        factors = torch.stack([factor(h) for factor, h in zip(self.factors, hidden, strict=True)])
        products = factors.prod(0).view(-1, self.mix.in_features, len(self.bias))
        fused = self.mix(products.transpose(1, 2))[..., 0] + self.bias
        return Output(logits=self.classify(fused))
