"""DialogueRNN (Majumder et al., AAAI 2019) over concatenated modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """The section `model`.

    Attributes:
        dim: the size of every projection and state.
        head: the inner size of the classifier.
        dropout: before the classifier.
        bidirectional: whether a turn's output depends on the turns after it.
        causal: whether a turn's output depends only on that turn and earlier turns, whatever `bidirectional` says.
    """

    dim: Size = 256
    head: Size = 256
    dropout: Dropout = 0.0
    bidirectional: bool = True
    causal: bool = False


class Model(FusionModel):
    """DialogueRNN reads whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.dialoguernn.network import DialogueRNNConcat

        return DialogueRNNConcat(dims, classes, params)
