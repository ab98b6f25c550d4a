"""Foal-Net (Li et al., Interspeech 2024): alignment, matching and fusion of audio and visual frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from pipeline.params import Size
from pipeline.strict import Strict
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn

    from train.targets.goal import Goal

PAIR = ("audio", "visual")


class Params(ModelParams):
    """The section `model`.

    Attributes:
        compat: `published` omits the first linear layer and ignores `dim`.
        dim: the size of both streams after the first layer. With `published` each stream keeps its own size.
        heads: the attention heads, a divisor of `dim`.
        layers: the cross-attention blocks in each direction; 2 in the paper.
        head: the size of the space in which AVEL compares the streams.
        dropout: on the frames and before the classifier.
    """

    compat: Literal["default", "published"] = "default"
    dim: Size = 256
    heads: Size = 4
    layers: Annotated[int, Field(ge=1, le=256)] = 2
    head: Size = 256
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _heads_divide(self) -> Params:
        if self.compat == "default" and self.dim % self.heads:
            raise ValueError(f"model.dim={self.dim} is not divisible by model.heads={self.heads}")
        return self


class LossParams(Strict):
    """The section `loss`: CE + avel·AVEL + mem·MEM.

    Attributes:
        avel: the weight of audio-video emotion alignment.
        mem: the weight of cross-modal emotion label matching.
    """

    avel: Annotated[float, Field(ge=0)] = 1.0
    mem: Annotated[float, Field(ge=0)] = 0.1


class Model(FusionModel):
    """Foal-Net reads the audio and visual frames of single utterances."""

    params = Params
    loss_params = LossParams
    one_label = ("avel", "mem")
    reads = "frames"
    modalities = PAIR
    past_only = True

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.foalnet.network import FoalNet

        return FoalNet(dims, classes, params)

    @override
    def loss(self, params: LossParams, goal: Goal) -> nn.Module:
        from train.models.foalnet.losses import FoalNetLoss

        return FoalNetLoss(params, goal)
