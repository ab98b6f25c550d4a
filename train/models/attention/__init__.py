"""MERBench's `attention` (Lian et al., 2024): one learned weight for each modality of an utterance, no context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """Sizes of the network.

    Attributes:
        dim: size of every hidden vector.
        dropout: of the MLPs' inputs.
    """

    dim: Size = 128
    dropout: Dropout = 0.2


class Model(FusionModel):
    """Pooled features, each utterance for itself."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.attention.network import Attention

        return Attention(dims, classes, params)
