"""LMF, low-rank multimodal fusion (Liu et al., ACL 2018), on MERBench's encoders, without context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """The section `model`.

    Attributes:
        dim: the size of the hidden vectors and of the fused vector.
        dropout: of the inputs of the MLPs.
        rank: the rank of the weight tensor.
    """

    dim: Size = 128
    dropout: Dropout = 0.2
    rank: Annotated[int, Field(ge=1, le=256)] = 4


class Model(FusionModel):
    """LMF reads pooled features, one utterance at a time."""

    params = Params
    past_only = True

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.lmf.network import LMF

        return LMF(dims, classes, params)
