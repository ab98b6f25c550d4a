"""DialogueRNN (Majumder et al., AAAI 2019): one recurrence over the concatenated modalities.

MultiEMO without MultiAttn also concatenates, but after one recurrence per modality.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from train.layers.dialogue_rnn import DialogueRNN
from train.layers.layout import Layout
from train.layers.projection import projected
from train.models.contract import MODALITIES, Batch, Output
from train.models.dialoguernn import Params


class DialogueRNNConcat(nn.Module):
    """DialogueRNN over concatenated modalities.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        d, both = params.dim, params.bidirectional and not params.causal
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], d) for m in self.modalities})
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(d)) for m in self.modalities})
        self.joint = nn.Linear(d * len(self.modalities), d)
        self.rnn = DialogueRNN(1, d, both)
        self.hidden = nn.Linear(2 * d if both else d, params.head)
        self.classify, self.dropout = nn.Linear(params.head, classes), nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        on_gpu = batch.speakers.device.type != "cpu"
        layout = Layout(batch.lengths, batch.speakers, padded=False, dense=on_gpu)
        inputs = [projected(m, batch, layout, self.project, self.missing) for m in self.modalities]
        x = torch.cat(inputs, -1)
        [e] = self.rnn([self.joint(x)], layout)
        state = self.dropout(layout.answers(e if layout.ask is None else layout.ask(e)))
        return Output(logits=self.classify(F.relu(self.hidden(state))))
