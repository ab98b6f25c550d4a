"""DialogueRNN (Majumder et al., AAAI 2019) over concatenated modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """Its knobs.

    Attributes:
        dim: size of every projection and state.
        head: inner size of the classifier.
        bidirectional: whether a turn sees what follows it.
    """

    dim: Size = 256
    head: Size = 256
    dropout: Dropout = 0.0
    bidirectional: bool = True


class Model(FusionModel):
    """Whole dialogues of pooled features."""

    params = Params

    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.dialoguernn.network import DialogueRNNConcat

        return DialogueRNNConcat(dims, classes, params)
