"""The network of BC-LSTM (Poria et al., ACL 2017, doi 10.18653/v1/P17-1081), in its hierarchical form.

Each modality has a bidirectional LSTM over the dialogue and a dense layer. Another LSTM and dense layer read their
concatenation. The paper trains the two levels one after the other; this network trains them together.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.context import states
from train.models.bclstm import Params
from train.models.contract import MODALITIES, Batch, Output


class BCLSTM(nn.Module):
    """The BC-LSTM network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        d = params.dim
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(dims[m])) for m in self.modalities})
        self.alone = nn.ModuleDict({m: Level(dims[m], params) for m in self.modalities})
        self.together = Level(d * len(self.modalities), params)
        self.classify = nn.Linear(d, classes)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        alone = []
        for m in self.modalities:
            x = torch.where(batch.present[m][..., None], batch.features[m], self.missing[m])
            alone.append(self.alone[m](x, batch.lengths))
        joint = self.together(torch.cat(alone, -1), batch.lengths)
        return Output(logits=self.classify(joint[batch.real()]))


class Level(nn.Module):
    """An LSTM over whole dialogues, bidirectional unless it is causal, followed by a dense layer.

    Args:
        size: the size of the input, n.
        params: the section `model`; the LSTM's size in each direction and the output's are d = `dim`.
    """

    def __init__(self, size: int, params: Params) -> None:
        super().__init__()
        d, directions = params.dim, 1 if params.causal else 2
        self.lstm = nn.LSTM(size, d, batch_first=True, bidirectional=directions == 2)
        self.dense, self.dropout = nn.Linear(directions * d, d), nn.Dropout(params.dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return [B, T, d] of the inputs `x` [B, T, n] and the dialogues' `lengths` [B]."""
        return F.relu(self.dense(self.dropout(states(self.lstm, x, lengths))))
