"""The network of LMF (Liu et al., ACL 2018, doi 10.18653/v1/P18-1209).

    h_m = MLP(x_m)
    fused = Σ_r v_r · Π_m (W_m^(r) [h_m; 1]) + b, with an element-wise product over the modalities
    logits = Linear(fused)

The appended 1 makes one column of W_m^(r) the bias of a dense layer. h_m is 0 if the feature of modality m is missing,
so its factor is this bias.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from train.layers.hidden import Hidden
from train.models.contract import Batch, Output
from train.models.lmf import Params


class LMF(nn.Module):
    """The LMF network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
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
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        hidden = self.hidden(batch)
        factors = torch.stack([factor(h) for factor, h in zip(self.factors, hidden, strict=True)])
        products = factors.prod(0).view(-1, self.mix.in_features, len(self.bias))
        fused = self.mix(products.transpose(1, 2))[..., 0] + self.bias
        return Output(logits=self.classify(fused))
