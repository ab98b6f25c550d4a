"""The network of MVN's utterance view (Ma et al., Knowledge-Based Systems 2022), a reduction without the word view.

    s_t = tanh(Linear of the modalities), one vector per utterance
    b_j = s_j + forward GRU_j + backward GRU_j  over the K turns j before turn t
    c_t = Σ_j a_j b_j  with a the softmax over j of s_t · b_j
    z = σ(W_a s_t + W_b c_t)
    logits = Linear(dropout(tanh(Linear(z ⊙ s_t + (1 − z) ⊙ c_t))))

The first turn of a dialogue has no past turns. Its s_t replaces the gated vector.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.layers.context import states
from train.layers.joined import Joined
from train.models.contract import Batch, Output
from train.models.mvn_utterance import Params


class MVNUtterance(nn.Module):
    """The reduced MVN network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        d, self.turns = params.dim, params.turns
        self.joined = Joined(dims, d)
        self.gru = nn.GRU(d, d, batch_first=True, bidirectional=True)
        self.gate_own, self.gate_context = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.hidden, self.classify = nn.Linear(d, params.head), nn.Linear(params.head, classes)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        utterances = self.dropout(torch.tanh(self.joined(batch)))
        turn = torch.cat([torch.arange(int(length)) for length in batch.lengths])
        own = utterances[batch.real()]
        first = turn == 0
        vectors = own.clone()
        if not bool(first.all()):
            later = (~first).nonzero()[:, 0].to(own.device)
            vectors[later] = self._gated(own, later, turn[~first].clamp(max=self.turns))
        return Output(logits=self.classify(self.dropout(torch.tanh(self.hidden(vectors)))))

    def _gated(self, utterances: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        """Return the gated vectors [W, d] of the W utterances with past turns.

        Args:
            utterances: [U, d], all utterances of the batch in dialogue-then-turn order.
            rows: [W] long, indices of the W utterances.
            counts: [W] long on the CPU, the number of past turns that each attends to, at least 1.
        """
        own, places = utterances[rows], torch.arange(int(counts.max()), device=rows.device)
        behind = counts.to(rows.device)[:, None]
        there = places < behind
        window = utterances[(rows[:, None] - behind + places).clamp(max=len(utterances) - 1)]
        forward, backward = states(self.gru, window, counts).chunk(2, -1)
        bank = self.dropout(window + forward + backward)
        scores = (bank @ own[..., None])[..., 0].masked_fill(~there, -torch.inf)
        context = self.dropout((scores.softmax(-1)[:, None] @ bank)[:, 0])
        gate = torch.sigmoid(self.gate_own(own) + self.gate_context(context))
        gated: Tensor = gate * own + (1 - gate) * context
        return gated
