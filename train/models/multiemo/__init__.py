"""MultiEMO (Shi and Huang, ACL 2023): recurrence per modality, attention between them, a loss of three terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params import Positive, Share, Size
from pipeline.strict import Strict
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import Tensor, nn


class Params(ModelParams):
    """Sizes and parts of the network.

    Attributes:
        compat: `published` computes what the authors' code does where that is not what is wanted.
        dim: size of every modality's vectors after their projection.
        heads: of each attention; they divide `dim`.
        ffn: inner size of MultiAttn's feed-forward sublayers.
        layers: of each of MultiAttn's stacks.
        head: inner size of the classifier.
        bidirectional: whether a turn sees what follows it.
        text_rnn: whether text has a recurrence.
        multiattn: whether the modalities ask each other; without it they are concatenated.
    """

    compat: Literal["default", "published"] = "default"
    dim: Size = 256
    heads: Size = 4
    ffn: Size = 1024
    layers: Annotated[int, Field(ge=1, le=256)] = 2
    head: Size = 256
    dropout: Dropout = 0.0
    bidirectional: bool = True
    text_rnn: bool = True
    multiattn: bool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> Params:
        if self.dim % self.heads:
            raise ValueError(f"model.dim={self.dim} is not divisible by model.heads={self.heads}")
        return self


class LossParams(Strict):
    """mu1 SWFC + mu2 Soft-HGR + (1 - mu1 - mu2) CE.

    Attributes:
        temperature: of SWFC's similarities.
        focus: γ of equation 18, how much more a hard pair counts.
        alpha: α of equation 19, how much more a rare label counts.
        soft_hgr: `exact` as the paper writes it, or `scaled` as its code computes it.
        swfc_weights: whether the labels' weights sum to 1.
    """

    mu1: Share = 0.3
    mu2: Share = 0.3
    temperature: Positive = 1.0
    focus: Annotated[float, Field(ge=0)] = 2.0
    alpha: Annotated[float, Field(ge=0)] = 1.0
    soft_hgr: Literal["scaled", "exact"] = "scaled"
    swfc_weights: Literal["normalised", "raw"] = "normalised"

    @model_validator(mode="after")
    def _weights(self) -> LossParams:
        if self.mu1 + self.mu2 > 1:
            raise ValueError(
                f"loss.mu1={self.mu1} + loss.mu2={self.mu2} = {self.mu1 + self.mu2:g} > 1, which leaves "
                "cross-entropy a negative weight: lower one of them"
            )
        return self


class Model(FusionModel):
    """Whole dialogues of pooled features; `losses` beside it."""

    params = Params
    loss_params = LossParams

    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.multiemo.network import MultiEMO

        return MultiEMO(dims, classes, params)

    def loss(self, params: LossParams, counts: Tensor) -> nn.Module:
        from train.models.multiemo.losses import MultiEMOLoss

        return MultiEMOLoss(params, counts)
