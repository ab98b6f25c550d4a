"""BC-LSTM (Poria et al., ACL 2017): each turn with its context, without speakers."""

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
        dim: the size of every LSTM and dense layer.
        dropout: between an LSTM and its dense layer.
        causal: whether a turn's output depends only on that turn and earlier turns.
    """

    dim: Size = 256
    dropout: Dropout = 0.0
    causal: bool = False


class Model(FusionModel):
    """BC-LSTM reads whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.bclstm.network import BCLSTM

        return BCLSTM(dims, classes, params)
