"""DialogueGCN (Ghosal et al., EMNLP 2019): a graph of the turns, whose edges know who spoke and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn

Window = Annotated[int, Field(ge=0, le=1 << 16)]


class Params(ModelParams):
    """The section `model`.

    Attributes:
        compat: `published` computes context, edge weights, graph layers and attention as the authors' code does.
        dim: the size of each direction of the recurrence, and of the graph's layers.
        dropout: between the recurrence's layers and before the classifier.
        past: earlier turns that a turn has edges with.
        future: later turns that a turn has edges with.
        relations: what selects an edge's weights, besides its direction in time: `speaker`, whether both turns have
            the same speaker; `pairs`, as published, the numbers of both speakers.
        parties: speakers that `pairs` tells apart; further ones share the last number.
        causal: whether a turn's output depends only on that turn and earlier turns.
    """

    compat: Literal["default", "published"] = "default"
    dim: Size = 100
    dropout: Dropout = 0.4
    past: Window = 10
    future: Window = 10
    relations: Literal["speaker", "pairs"] = "speaker"
    parties: Size = 9
    causal: bool = False

    @model_validator(mode="after")
    def _published_reads_ahead(self) -> Params:
        if self.causal and self.compat == "published":
            raise ValueError(
                "model.causal=true needs model.compat=default: the published graph reads later turns"
            )
        return self


class Model(FusionModel):
    """DialogueGCN reads whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.dialoguegcn.network import DialogueGCN

        return DialogueGCN(dims, classes, params)
