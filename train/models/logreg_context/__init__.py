"""Logistic regression on the concatenated features of each utterance and of the turns around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from train.models.declaration import FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """The section `model`.

    Attributes:
        turns: the number of turns before each utterance, and after it, whose features are read.
        causal: whether only the turns before it are read.
    """

    turns: Annotated[int, Field(ge=1, le=100)] = 3
    causal: bool = False


class Model(FusionModel):
    """Logistic regression with context reads whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.layers.logistic import LogisticRegression

        return LogisticRegression(dims, classes, params.turns, 0 if params.causal else params.turns)
