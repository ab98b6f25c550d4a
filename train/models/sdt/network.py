"""The network of SDT (Ma et al., IEEE Transactions on Multimedia 2024, arXiv 2310.20494).

For modalities m and n:

    z_m = dropout(W_m x_m + position + speaker)
    o_mn = Encoder(queries z_m, keys and values z_n)
    r_m = Linear([g(o_mm); g(o_mn) for the other n]) with the gate g(o) = σ(W o) ⊙ o
    fused = Σ_m softmax_m(W r_m) ⊙ r_m, with a softmax over the modalities for each dimension

The fused vector and each r_m have a classifier.

A missing feature enters as a learned vector of its modality. It is masked as a key and in the softmax over the
modalities. If an utterance has no feature, the softmax is over all modalities in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.codes import Speakers, sinusoid
from train.models.contract import MODALITIES, Batch, Output
from train.models.sdt import Params


@dataclass(kw_only=True)
class Distilled(Output):
    """The output of SDT, including the inputs of its loss.

    Attributes:
        unimodal: modality in use → [U, C], the logits of its classifier.
        present: modality in use → [U] bool.
    """

    unimodal: dict[str, Tensor]
    present: dict[str, Tensor]


class SDT(nn.Module):
    """The SDT network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        d, self.causal = params.dim, params.causal
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], d, bias=False) for m in self.modalities})
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(d)) for m in self.modalities})
        self.speakers, self.dropout = Speakers(d), nn.Dropout(params.dropout)
        pairs = [f"{m}_{n}" for m in self.modalities for n in self.modalities]
        self.encoders = nn.ModuleDict({pair: Encoder(d, params.heads, params.dropout) for pair in pairs})
        self.gates = nn.ModuleDict({pair: nn.Linear(d, d, bias=False) for pair in pairs})
        self.join = nn.ModuleDict({m: nn.Linear(d * len(self.modalities), d) for m in self.modalities})
        self.share = nn.Linear(d, d, bias=False)
        self.classify_alone = nn.ModuleDict({m: nn.Linear(d, classes) for m in self.modalities})
        self.classify = nn.Linear(d, classes)

    def forward(self, batch: Batch) -> Distilled:
        """Return the logits of the U utterances, in dialogue-then-turn order."""
        real = batch.real()
        inputs = self._inputs(batch)
        alone = {m: self._alone(m, inputs, batch)[real] for m in self.modalities}
        present = {m: batch.present[m][real] for m in self.modalities}
        here = torch.stack(list(present.values()), 1)
        here = here | ~here.any(1, keepdim=True)
        stacked = torch.stack(list(alone.values()), 1)
        shares = self.share(stacked).masked_fill(~here[..., None], -torch.inf).softmax(1)
        fused = (shares * stacked).sum(1)
        return Distilled(
            logits=self.classify(fused),
            unimodal={m: self.classify_alone[m](self.dropout(F.relu(x))) for m, x in alone.items()},
            present=present,
        )

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return z_m [B, T, d] of every modality."""
        places = torch.arange(batch.speakers.shape[1], device=batch.speakers.device)
        code = sinusoid(places, self.share.in_features, self.share.weight.dtype)
        code = code + self.speakers(batch.speakers)
        inputs = {}
        for m in self.modalities:
            x = self.project[m](batch.features[m])
            x = torch.where(batch.present[m][..., None], x, self.missing[m].to(x.dtype))
            inputs[m] = self.dropout(x + code)
        return inputs

    def _alone(self, m: str, inputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return r_m [B, T, d]."""
        parts = []
        for n in [m, *(o for o in self.modalities if o != m)]:
            encoded = self.encoders[f"{m}_{n}"](inputs[m], inputs[n], self._mask(batch.present[n]))
            parts.append(torch.sigmoid(self.gates[f"{m}_{n}"](encoded)) * encoded)
        joined: Tensor = self.join[m](torch.cat(parts, -1))
        return joined

    def _mask(self, present: Tensor) -> Tensor:
        """Return which keys a turn attends to, [B, T, T] bool, or [B, 1, T] if they are the same for all turns."""
        mask, turns = present[:, None], present.shape[1]
        return mask & mask.new_ones(turns, turns).tril() if self.causal else mask


class Encoder(nn.Module):
    """One transformer layer, as published without a norm before the attention.

        y = x + dropout(O attention)
        out = y + dropout(W₂ dropout(gelu(W₁ LN(y))))

    Args:
        dim: the size of the input and the output, d.
        heads: the number of attention heads.
        dropout: in both sublayers.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.project = (nn.Linear(dim, dim) for _ in range(4))
        self.norm = nn.LayerNorm(dim)
        self.first, self.second = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Return [B, T, d], 0 where a query has no key.

        Args:
            x: [B, T, d], the queries.
            keys: [B, T, d], the keys and values.
            mask: [B, T, T] or [B, 1, T] bool, True where a query attends to a key.
        """
        some = mask.any(-1, keepdim=True)
        mask = (mask | ~some)[:, None]  # the softmax over an empty set is not defined
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.query(x), self.key(keys), self.value(keys))
        )
        context = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.project(context))
        x = x + self.dropout(self.second(self.dropout(F.gelu(self.first(self.norm(x))))))
        return x * some
