"""SDT (Ma et al., IEEE Transactions on Multimedia 2024): attention within and between modalities, self-distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from pipeline.params import Positive, Size
from pipeline.strict import Strict
from train.models.declaration import Dropout, FusionModel, HeadsParams

if TYPE_CHECKING:
    from torch import Tensor, nn


class Params(HeadsParams):
    """Sizes of the network.

    Attributes:
        dropout: of the inputs, of both sublayers of each encoder, and before the modalities' classifiers.
    """

    heads: Size = 8
    dropout: Dropout = 0.5


class LossParams(Strict):
    """Cross-entropy of the fused answer + unimodal · theirs + distil · their distance from the fused answer.

    Attributes:
        unimodal: weight of the cross-entropy of the modalities' own classifiers.
        distil: weight of KL(fused ‖ modality), summed over the modalities.
        tau: temperature of both distributions in KL.
    """

    unimodal: Annotated[float, Field(ge=0)] = 1.0
    distil: Annotated[float, Field(ge=0)] = 1.0
    tau: Positive = 1.0


class Model(FusionModel):
    """Whole dialogues of pooled features; its loss is in `losses.py`."""

    params = Params
    loss_params = LossParams

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.sdt.network import SDT

        return SDT(dims, classes, params)

    @override
    def loss(self, params: LossParams, counts: Tensor) -> nn.Module:
        from train.models.sdt.losses import SDTLoss

        return SDTLoss(params)
