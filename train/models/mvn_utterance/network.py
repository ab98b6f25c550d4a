"""The utterance view of MVN (Ma et al., Knowledge-Based Systems 2022): a reduction, without the view of words.

    s_t = tanh(Linear of the modalities), one vector for each utterance
    b_j = s_j + forward GRU_j + backward GRU_j  over the K turns j before turn t
    c_t = Σ_j a_j b_j  with a the softmax over j of s_t · b_j
    z = σ(W_a s_t + W_b c_t)
    logits = Linear(dropout(tanh(Linear(z ⊙ s_t + (1 − z) ⊙ c_t))))

A dialogue's first turn has nothing to ask: its s_t is classified as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from train.layers.joined import Joined
from train.models.contract import Batch, Output
from train.models.mvn_utterance import Params


class MVNUtterance(nn.Module):
    """The network.

    Args:
        dims: modality → feature size, modalities in use only.
        classes: number of labels.
        params: sizes.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        d, self.turns = params.dim, params.turns
        self.joined = Joined(dims, d)
        self.gru = nn.GRU(d, d, batch_first=True, bidirectional=True)
        self.own, self.asked = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.hidden, self.classify = nn.Linear(d, params.head), nn.Linear(params.head, classes)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return the logits of the U real utterances, in dialogue-then-turn order."""
        utterances = self.dropout(torch.tanh(self.joined(batch)))
        turn = torch.cat([torch.arange(int(length)) for length in batch.lengths])
        own = utterances[batch.real()]
        first = turn == 0
        vectors = own.clone()
        if not bool(first.all()):
            later = (~first).nonzero()[:, 0].to(own.device)
            vectors[later] = self._asking(own, later, turn[~first].clamp(max=self.turns))
        return Output(logits=self.classify(self.dropout(torch.tanh(self.hidden(vectors)))))

    def _asking(self, utterances: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        """Return the gated vectors [W, d] of some utterances.

        Args:
            utterances: [U, d] all of the batch, each dialogue's in order.
            rows: [W] long, which of them.
            counts: [W] long on the CPU, turns that each of them asks, at least 1: those right before it.
        """
        own, places = utterances[rows], torch.arange(int(counts.max()), device=rows.device)
        behind = counts.to(rows.device)[:, None]
        there = places < behind
        window = utterances[(rows[:, None] - behind + places).clamp(max=len(utterances) - 1)]
        packed = pack_padded_sequence(window, counts, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        forward, backward = states.chunk(2, -1)
        bank = self.dropout(window + forward + backward)
        scores = (bank @ own[..., None])[..., 0].masked_fill(~there, -torch.inf)
        context = self.dropout((scores.softmax(-1)[:, None] @ bank)[:, 0])
        gate = torch.sigmoid(self.own(own) + self.asked(context))
        gated: Tensor = gate * own + (1 - gate) * context
        return gated
