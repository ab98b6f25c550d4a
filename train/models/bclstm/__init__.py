"""BC-LSTM (Poria et al., ACL 2017): who speaks does not count, what stands around does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """Its knobs: the size of every LSTM and dense layer, and the dropout between them."""

    dim: Size = 256
    dropout: Dropout = 0.0


class Model(FusionModel):
    """Whole dialogues of pooled features."""

    params = Params

    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.bclstm.network import BCLSTM

        return BCLSTM(dims, classes, params)
