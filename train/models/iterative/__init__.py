"""A reduction after IterativeERC (Lu et al., COLING 2020): each round reads the emotions predicted before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams, NoLossParams

if TYPE_CHECKING:
    from torch import nn

    from train.targets.goal import Goal


class Params(ModelParams):
    """The section `model`.

    Attributes:
        dim: the size of an utterance's vector, of an emotion's vector, and of the recurrence in each direction.
        dropout: of the utterances' vectors and of the recurrence's states.
        rounds: the number of predictions after the first.
        causal: whether the recurrence reads the past only.
    """

    dim: Size = 256
    dropout: Dropout = 0.0
    rounds: Annotated[int, Field(ge=1, le=100)] = 3
    causal: bool = False


class Model(FusionModel):
    """The iterative model reads whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.iterative.network import Iterative

        return Iterative(dims, classes, params)

    @override
    def loss(self, params: NoLossParams, goal: Goal) -> nn.Module:
        from train.models.iterative.losses import EveryRound

        return EveryRound(goal)
