"""The `attention` model of MERBench (Lian et al., 2024): a weighted sum of modalities, without context."""

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
        dim: the size of every hidden vector.
        dropout: of the inputs of the MLPs.
    """

    dim: Size = 128
    dropout: Dropout = 0.2


class Model(FusionModel):
    """The attention model reads pooled features, one utterance at a time."""

    params = Params
    past_only = True

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.attention.network import Attention

        return Attention(dims, classes, params)
