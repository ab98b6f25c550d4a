"""Foal-Net (Li et al., Interspeech 2024): frames of voice and video that align, match and fuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params import Size
from pipeline.strict import Strict
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import Tensor, nn

PAIR = ("audio", "visual")


class Params(ModelParams):
    """Sizes of the network.

    Attributes:
        compat: `published` leaves out the first layer, and `dim` with it.
        dim: of both streams after their first layer; published: each stream's own.
        heads: of each attention; they divide `dim`.
        layers: blocks each way; published: two.
        head: size of the space that AVEL compares in.
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
    """CE + avel·AVEL + mem·MEM."""

    avel: Annotated[float, Field(ge=0)] = 1.0
    mem: Annotated[float, Field(ge=0)] = 0.1


class Model(FusionModel):
    """Single utterances, the frames of voice and video; `losses` beside it."""

    params = Params
    loss_params = LossParams
    reads = "frames"
    modalities = PAIR

    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.foalnet.network import FoalNet

        return FoalNet(dims, classes, params)

    def loss(self, params: LossParams, counts: Tensor) -> nn.Module:
        from train.models.foalnet.losses import FoalNetLoss

        return FoalNetLoss(params, counts)
