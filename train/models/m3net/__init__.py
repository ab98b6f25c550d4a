"""M3Net (Chen et al., CVPR 2023): a hypergraph of turns and modalities beside a graph that keeps differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn

Depth = Annotated[int, Field(ge=1, le=256)]


class Params(ModelParams):
    """The section `model`.

    Attributes:
        dim: the size of each direction of text's recurrence, half that of a node.
        hyper: the number of layers of the hypergraph.
        high: the number of layers of the graph that keeps differences.
        dropout: between the recurrence's layers and before the classifier.
        causal: whether a turn's output depends only on that turn and earlier turns.
    """

    dim: Size = 256
    hyper: Depth = 3
    high: Depth = 4
    dropout: Dropout = 0.5
    causal: bool = False


class Model(FusionModel):
    """M3Net reads whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.m3net.network import M3Net

        return M3Net(dims, classes, params)
