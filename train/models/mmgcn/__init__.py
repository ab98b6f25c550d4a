"""MMGCN (Hu et al., ACL 2021): one graph over the turns of all modalities, with weights by similarity."""

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
        dim: the size of each direction of text's recurrence and of the graph's layers, half that of a node.
        depth: the number of graph layers.
        dropout: between the recurrence's layers, in the graph and before the classifier.
        causal: whether a turn's output depends only on that turn and earlier turns.
    """

    dim: Size = 100
    depth: Annotated[int, Field(ge=1, le=256)] = 4
    dropout: Dropout = 0.4
    causal: bool = False


class Model(FusionModel):
    """MMGCN reads whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.mmgcn.network import MMGCN

        return MMGCN(dims, classes, params)
