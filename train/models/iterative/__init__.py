"""After IterativeERC (Lu et al., COLING 2020): a reduction. Each round reads the answers of the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams, NoLossParams

if TYPE_CHECKING:
    from torch import Tensor, nn


class Params(ModelParams):
    """Sizes of the network.

    Attributes:
        dim: size of an utterance's vector, of an emotion's, and of the recurrence's states.
        dropout: of the utterances' vectors and of the states.
        rounds: answers after the first, each of which reads the one before it.
    """

    dim: Size = 256
    dropout: Dropout = 0.0
    rounds: Annotated[int, Field(ge=1, le=100)] = 3


class Model(FusionModel):
    """Whole dialogues of pooled features; its loss is in `losses.py`."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.iterative.network import Iterative

        return Iterative(dims, classes, params)

    @override
    def loss(self, params: NoLossParams, counts: Tensor) -> nn.Module:
        from train.models.iterative.losses import EveryRound

        return EveryRound()
