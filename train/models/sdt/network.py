"""SDT (Ma et al., IEEE Transactions on Multimedia 2024, arXiv 2310.20494): transformer encoders and two kinds of gates.

For modalities m, n: z_m = dropout(W_m x_m + position + speaker); o_mn = Encoder(queries z_m, keys and values z_n);
r_m = Linear([g(o_mm); g(o_mn) of the others]) with the gate g(o) = σ(W o) ⊙ o; fused = Σ_m softmax_m(W r_m) ⊙ r_m, a
softmax over the modalities for each dimension. The fused vector and every r_m have a classifier each.

A missing feature enters as a learned vector of its modality, is masked as a key, and has no share in the fused vector.
An utterance without any feature is answered from its learned vectors, which see the features of other turns.
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
    """What the loss reads beside the logits, of the same U utterances."""

    unimodal: dict[str, Tensor]  # modality → [U, C], logits of its own classifier
    present: dict[str, Tensor]  # modality → [U] bool


class SDT(nn.Module):
    """The network.

    Args:
        dims: modality → feature size, modalities in use only.
        classes: number of labels.
        params: sizes.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        d = params.dim
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
        """Return all classifiers' logits of the U real utterances, in dialogue-then-turn order."""
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
            seen = self.encoders[f"{m}_{n}"](inputs[m], inputs[n], batch.present[n])
            parts.append(torch.sigmoid(self.gates[f"{m}_{n}"](seen)) * seen)
        joined: Tensor = self.join[m](torch.cat(parts, -1))
        return joined


class Encoder(nn.Module):
    """One transformer layer without a norm before its attention, as published.

    y = x + dropout(O attention); out = y + dropout(W₂ dropout(gelu(W₁ LN(y)))).
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.project = (nn.Linear(dim, dim) for _ in range(4))
        self.norm = nn.LayerNorm(dim)
        self.first, self.second = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, asked: Tensor, present: Tensor) -> Tensor:
        """Return [B, T, d] for the queries x; 0 in a dialogue without any key.

        Args:
            x: [B, T, d].
            asked: [B, T, d].
            present: [B, T] bool, which turns are keys.
        """
        some = present.any(1)[:, None, None]
        mask = (present[:, None] | ~some)[:, None]  # a softmax over nothing has no value
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.query(x), self.key(asked), self.value(asked))
        )
        context = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.project(context))
        x = x + self.dropout(self.second(self.dropout(F.gelu(self.first(self.norm(x))))))
        return x * some
