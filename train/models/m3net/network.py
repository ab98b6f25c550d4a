"""M3Net (Chen et al., CVPR 2023, "Multivariate, Multi-Frequency and Multimodal").

Two networks over the same nodes, a feature each: a hypergraph whose hyperedges are the modalities and the turns, and a
graph whose signed weights keep what differs between neighbours. A missing feature is in neither: its learned vector
reaches the classifier alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.modal_graph import ModalNodes, adjacency
from train.models.contract import MODALITIES, Batch, Output
from train.models.m3net import Params


class M3Net(nn.Module):
    """The M3Net network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.causal, size = params.causal, 2 * params.dim
        used = {m: dims[m] for m in MODALITIES if m in dims}
        self.nodes = ModalNodes(used, nn.GRU, params.dim, params.dropout, params.causal)
        self.enter = nn.Linear(size, size)
        self.hyper = nn.ModuleList(HyperLayer(len(used), size) for _ in range(params.hyper))
        self.high = nn.ModuleList(DifferenceLayer(size) for _ in range(params.high))
        self.classify, self.dropout = nn.Linear(2 * size * len(used), classes), nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        nodes, present = self.nodes(batch)
        x = self.enter(nodes)
        y, edges = x.flatten(1, 2), adjacency(present, self.causal)
        for layer in self.hyper:
            x = layer(x, present, self.causal)
        for layer in self.high:
            y = layer(y, edges)
        both = torch.cat([x, y.view_as(x)], -1).transpose(1, 2).flatten(2)
        return Output(logits=self.classify(F.relu(self.dropout(both[batch.real()]))))


class HyperLayer(nn.Module):
    """Each node's mean of its two hyperedges, which are the means of their nodes: `[B, M, T, size]` → the same.

    One learned number a modality is the share of the modality's hyperedge; the turn's has the rest.
    """

    def __init__(self, modalities: int, size: int) -> None:
        super().__init__()
        self.change = nn.Linear(size, size)
        self.kind = nn.Parameter(torch.zeros(modalities))

    def forward(self, x: Tensor, present: Tensor, causal: bool) -> Tensor:
        """Return the nodes after the layer.

        Args:
            x: `[B, M, T, size]`.
            present: `[B, M, T]` bool, which nodes are in the hyperedges.
            causal: whether a modality's hyperedge ends, for each turn, at that turn.
        """
        members = present.to(x.dtype)
        turns = torch.ones(x.shape[2], x.shape[2], dtype=x.dtype, device=x.device)
        of_modality = members[:, :, None, :] * (turns.tril() if causal else turns[:1])
        modality = of_modality @ x / of_modality.sum(-1, keepdim=True).clamp(min=1)
        turn = (members[..., None] * x).sum(1, keepdim=True) / members.sum(1, keepdim=True).clamp(min=1)[
            ..., None
        ]
        share = torch.sigmoid(self.kind)[:, None, None]
        mean = (share * modality + (1 - share) * turn) * members[..., None]
        return F.leaky_relu(self.change(mean))


class DifferenceLayer(nn.Module):
    """y_i + Σ_j tanh(g · [y_i; y_j] + c) y_j / √(d_i d_j) over i's neighbours: `[B, N, size]` → the same."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.receiver, self.sender = nn.Linear(size, 1), nn.Linear(size, 1, bias=False)

    def forward(self, y: Tensor, edges: Tensor) -> Tensor:
        """Return the nodes after the layer; edges is `[B, N, N]` bool, and an edge of a node to itself is not read."""
        itself = torch.eye(y.shape[1], dtype=torch.bool, device=y.device)
        others = (edges & ~itself).to(y.dtype)
        scale = others.sum(-1).clamp(min=1).rsqrt()
        gate = torch.tanh(self.receiver(y) + self.sender(y).mT)
        return y + (gate * others * scale[:, :, None] * scale[:, None, :]) @ y
