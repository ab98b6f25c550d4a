"""The utterance view of MVN (Ma et al., 2022): a reduction, without the published model's word view."""

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
        dim: the size of an utterance's vector and of the recurrence.
        head: the inner size of the classifier.
        dropout: of the utterances' vectors, of the keys and the output of the attention, and in the classifier.
        turns: the number of past turns that a turn attends to.
    """

    dim: Size = 300
    head: Size = 150
    dropout: Dropout = 0.3
    turns: Annotated[int, Field(ge=1, le=1000)] = 10


class Model(FusionModel):
    """The reduced MVN reads whole dialogues of pooled features."""

    params = Params
    past_only = True

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.mvn_utterance.network import MVNUtterance

        return MVNUtterance(dims, classes, params)
