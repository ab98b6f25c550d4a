"""MVN's utterance view alone (Ma et al., 2022): a turn asks the turns before it. A reduction of the published model."""

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
    """Sizes of the network.

    Attributes:
        dim: size of an utterance's vector and of the recurrence's states.
        head: inner size of the classifier.
        dropout: of the utterances' vectors, of what the attention reads and answers, and in the classifier.
        turns: past turns that a turn can ask.
    """

    dim: Size = 300
    head: Size = 150
    dropout: Dropout = 0.3
    turns: Annotated[int, Field(ge=1, le=1000)] = 10


class Model(FusionModel):
    """Whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.mvn_utterance.network import MVNUtterance

        return MVNUtterance(dims, classes, params)
