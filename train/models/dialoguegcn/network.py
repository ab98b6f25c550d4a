"""DialogueGCN (Ghosal et al., EMNLP 2019, doi 10.18653/v1/D19-1015) on the concatenated modalities.

A recurrence over the dialogue, two graph layers between the turns of a window (graph.py), and attention over the
dialogue's turns. `compat: published` replaces the parts that the authors' code computes differently (published.py).
A turn without any feature sends nothing to others.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.context import Context
from train.layers.masked import masked_softmax
from train.models.contract import MODALITIES, Batch, Output
from train.models.dialoguegcn import Params
from train.models.dialoguegcn.graph import Graph, relations, window
from train.models.dialoguegcn.published import PublishedContext, PublishedGraph


class DialogueGCN(nn.Module):
    """The DialogueGCN network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.params, self.published = params, params.compat == "published"
        self.modalities = [m for m in MODALITIES if m in dims]
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(dims[m])) for m in self.modalities})
        size, d = sum(dims[m] for m in self.modalities), params.dim
        self.context: nn.Module
        self.graph: nn.Module
        if self.published:
            self.context = PublishedContext(size, d, params.dropout)
            self.graph = PublishedGraph(2 * d, d, params)
        else:
            self.context = Context(nn.GRU, size, d, params.dropout, params.causal)
            self.graph = Graph(2 * d, d, params)
        self.score = nn.Linear(3 * d, 3 * d, bias=self.published)
        if not self.published:
            # So a turn first attends to itself and to turns like it. With random weights all turns first attend to
            # the dialogue's mean, and some seeds never learn more.
            nn.init.eye_(self.score.weight)
        self.hidden, self.classify = nn.Linear(3 * d, d), nn.Linear(d, classes)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        p, real = self.params, batch.real()
        parts = [
            torch.where(batch.present[m][..., None], batch.features[m], self.missing[m])
            for m in self.modalities
        ]
        x = self.context(torch.cat(parts, -1).masked_fill(~real[..., None], 0), batch.lengths)
        sends = torch.stack([batch.present[m] for m in self.modalities]).any(0)[:, None, :]
        near = window(x.shape[1], p.past, 0 if p.causal else p.future).to(x.device)
        edges = (near.T if self.published else near) & sends & real[..., None]
        h = self.graph(x, edges, relations(batch.speakers, p.relations, p.parties))
        q = self.attended(torch.cat([x, h], -1), sends)[real]
        return Output(logits=self.classify(self.dropout(F.relu(self.hidden(q)))))

    def attended(self, q: Tensor, sends: Tensor) -> Tensor:
        """Return Σ_j β_tj q_j `[B, T, 3 * dim]`, equations 4–6; sends is `[B, 1, T]` bool."""
        scores = self.score(q) @ q.mT
        if self.published:
            scores = torch.tanh(scores)  # so no weight exceeds another by more than a factor of e²
        keys = sends.expand_as(scores)
        return masked_softmax(scores, keys.tril() if self.params.causal else keys) @ q
