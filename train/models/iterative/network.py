"""The network of a reduction after IterativeERC (Lu et al., COLING 2020), whose code and sizes are not public.

    u = Linear of the modalities, one vector per utterance
    p⁰ = softmax(Linear(u))
    h = GRU over the dialogue of [u; E p^{k−1}], bidirectional unless `causal`
    p^k = softmax(W h) for the rounds k = 1 … K, all with the same weights

The last prediction is the model's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from train.layers.context import states
from train.layers.joined import Joined
from train.models.contract import Batch, Output
from train.models.iterative import Params


@dataclass(kw_only=True)
class Rounds(Output):
    """The output of the iterative model, including the inputs of its loss.

    Attributes:
        rounds: the K + 1 predictions, logits [U, C]. The last ones are `logits`.
    """

    rounds: list[Tensor]


class Iterative(nn.Module):
    """The iterative network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        d, self.count = params.dim, params.rounds
        directions = 1 if params.causal else 2
        self.joined, self.first = Joined(dims, d), nn.Linear(d, classes)
        self.emotions = nn.Linear(classes, d, bias=False)
        self.gru = nn.GRU(2 * d, d, batch_first=True, bidirectional=not params.causal)
        self.classify, self.dropout = nn.Linear(directions * d, classes), nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Rounds:
        """Return every round's logits of the U utterances, in dialogue-then-turn order."""
        utterances = self.dropout(self.joined(batch))
        rounds = [self.first(utterances)]
        for _ in range(self.count):
            emotions = self.emotions(rounds[-1].softmax(-1)).to(utterances.dtype)
            read = states(self.gru, torch.cat([utterances, emotions], -1), batch.lengths)
            rounds.append(self.classify(self.dropout(read)))
        real = batch.real()
        found = [logits[real] for logits in rounds]
        return Rounds(logits=found[-1], rounds=found)
