"""SDT (Ma et al., IEEE Transactions on Multimedia 2024): transformer encoders with self-distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from pipeline.params import Positive, Size
from pipeline.strict import Strict
from train.models.declaration import Dropout, FusionModel, HeadsParams

if TYPE_CHECKING:
    from torch import nn

    from train.targets.goal import Goal


class Params(HeadsParams):
    """The section `model`.

    Attributes:
        dropout: of the inputs, in the encoders, and before the unimodal classifiers.
        causal: whether a turn attends only to itself and to the turns before it.
    """

    heads: Size = 8
    dropout: Dropout = 0.5
    causal: bool = False


class LossParams(Strict):
    """The section `loss`: CE of the fused logits + unimodal · CE of the unimodal logits + distil · KL.

    Attributes:
        unimodal: the weight of the cross-entropy of the unimodal logits, summed over the modalities.
        distil: the weight of KL(fused ‖ unimodal), summed over the modalities.
        tau: the temperature of both distributions in KL.
    """

    unimodal: Annotated[float, Field(ge=0)] = 1.0
    distil: Annotated[float, Field(ge=0)] = 1.0
    tau: Positive = 1.0


class Model(FusionModel):
    """SDT reads whole dialogues of pooled features."""

    params = Params
    loss_params = LossParams

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.sdt.network import SDT

        return SDT(dims, classes, params)

    @override
    def loss(self, params: LossParams, goal: Goal) -> nn.Module:
        from train.models.sdt.losses import SDTLoss

        return SDTLoss(params, goal)
