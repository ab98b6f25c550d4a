"""DialogueGCN's graph, equations 1–3 of the paper.

A matrix over turns has a row for each turn that receives and a column for each turn that sends.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.masked import masked_softmax
from train.models.dialoguegcn import Params

BASES = 30  # as published


def window(turns: int, past: int, future: int) -> Tensor:
    """Return `[T, T]` bool: a turn receives from the `past` turns before it, itself and the `future` turns after it."""
    turn = torch.arange(turns)
    ahead = turn - turn[:, None]
    return (-past <= ahead) & (ahead <= future)


def relations(speakers: Tensor, kind: str, parties: int) -> Tensor:
    """Return `[B, T, T]` long, the relation of each edge, from `[B, T]` speakers.

    The last bit is 0 where the sending turn is the earlier one.
    """
    turn = torch.arange(speakers.shape[1], device=speakers.device)
    not_earlier = (turn >= turn[:, None]).long()
    if kind == "speaker":
        return 2 * (speakers[:, :, None] != speakers[:, None, :]).long() + not_earlier
    party = speakers.clamp(max=parties - 1)
    return 2 * (parties * party[:, None, :] + party[:, :, None]) + not_earlier


class RelationalSum(nn.Module):
    """Σ_i w_ti W_r(t,i) x_i with one matrix for each relation.

    `pairs` mixes the matrices of its many relations from BASES common ones.
    """

    def __init__(self, size: int, out: int, params: Params) -> None:
        super().__init__()
        pairs = params.relations == "pairs"
        self.count = 2 * params.parties**2 if pairs else 4
        bases = BASES if pairs else self.count
        self.bases = nn.Parameter(torch.empty(bases, size, out).uniform_(-(size**-0.5), size**-0.5))
        self.mix = (
            nn.Parameter(torch.empty(self.count, bases).uniform_(-(bases**-0.5), bases**-0.5))
            if pairs
            else None
        )

    def forward(self, x: Tensor, weights: Tensor, relation: Tensor) -> Tensor:
        """Return `[B, T, out]` of x `[B, T, size]`, edge weights `[B, T, T]` and relations `[B, T, T]`."""
        shares = F.one_hot(relation, self.count).to(x.dtype) if self.mix is None else self.mix[relation]
        received = torch.einsum("btin,big->btng", weights[..., None] * shares, x)
        return torch.einsum("btng,ngh->bth", received, self.bases)


class Graph(nn.Module):
    """Two graph layers: `[B, T, size]` → `[B, T, out]`."""

    def __init__(self, size: int, out: int, params: Params) -> None:
        super().__init__()
        self.score = nn.Linear(size, size, bias=False)
        self.first, self.first_own = RelationalSum(size, out, params), nn.Linear(size, out, bias=False)
        self.second, self.second_own = nn.Linear(out, out, bias=False), nn.Linear(out, out, bias=False)

    def forward(self, x: Tensor, edges: Tensor, relation: Tensor) -> Tensor:
        """Return the turns' vectors after both layers; edges is `[B, T, T]` bool, relation `[B, T, T]` long."""
        alpha = masked_softmax(self.score(x) @ x.mT, edges)
        own = alpha.diagonal(dim1=1, dim2=2)[..., None]
        itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        others = (edges & ~itself).to(alpha.dtype)
        neighbours = others.new_zeros(*others.shape[:2], self.first.count).scatter_add(2, relation, others)
        weights = alpha * others / neighbours.gather(2, relation).clamp(min=1)
        h = F.relu(self.first(x, weights, relation) + own * self.first_own(x))
        # The mean where equation 3 has the sum, so that the scale does not depend on the window.
        mean = others @ self.second(h) / others.sum(-1, keepdim=True).clamp(min=1)
        return F.relu(mean + self.second_own(h))
