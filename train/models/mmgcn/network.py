"""MMGCN (Hu et al., ACL 2021, doi 10.18653/v1/2021.acl-long.440): a deep graph convolution over 3T nodes a dialogue.

Nodes are joined within a modality and within a turn, with weights by the angle between them; the layers are GCNII's
(Chen et al., ICML 2020). A missing feature is not in the graph: its learned vector reaches the classifier alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.modal_graph import ModalNodes, adjacency
from train.models.contract import MODALITIES, Batch, Output
from train.models.mmgcn import Params

NEARLY = 0.99999  # arccos has no derivative at 1, which equal nodes have as their cosine
SMALL = 1e-6  # the shortest node that has a direction
KEPT = 0.1  # α of GCNII: the share of the first layer's input
DECAY = 0.5  # λ of GCNII: how the weights of a layer fade with its number


class MMGCN(nn.Module):
    """The MMGCN network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.causal, d = params.causal, params.dim
        used = {m: dims[m] for m in MODALITIES if m in dims}
        self.nodes = ModalNodes(used, nn.LSTM, d, params.dropout, params.causal)
        self.enter = nn.Linear(2 * d, d)
        self.layers = nn.ParameterList(
            torch.empty(2 * d, d).uniform_(-(d**-0.5), d**-0.5) for _ in range(params.depth)
        )
        self.classify = nn.Linear(3 * d * len(used), classes)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        x, present = self.nodes(batch)
        share = propagation(x.flatten(1, 2), adjacency(present, self.causal))
        x = self.dropout(x.flatten(1, 2))
        h = start = F.relu(self.enter(x))
        for number, weight in enumerate(self.layers, 1):
            own = math.log(DECAY / number + 1)
            received = share @ self.dropout(h)
            changed = torch.cat([received, start], -1) @ weight
            h = F.relu(own * changed + (1 - own) * ((1 - KEPT) * received + KEPT * start))
        answer = torch.cat([x, self.dropout(h)], -1).unflatten(1, present.shape[1:])
        answer = answer.transpose(1, 2).flatten(2)[batch.real()]
        return Output(logits=self.classify(F.relu(self.dropout(answer))))


def propagation(x: Tensor, edges: Tensor) -> Tensor:
    """Return D^-½ A D^-½ `[B, N, N]` of nodes `[B, N, n]` and edges `[B, N, N]` bool; a node without edges has 0.

    A_ij = 1 − arccos(cos(x_i, x_j)) / π, in float32 at least: in bfloat16 a cosine may exceed 1.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        unit = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=SMALL)
        weights = (1 - torch.arccos(NEARLY * (unit @ unit.mT)) / math.pi).masked_fill(~edges, 0)
        degree = weights.sum(-1)
        scale = torch.where(degree > 0, degree, 1).rsqrt()
        return scale[:, :, None] * weights * scale[:, None, :]
