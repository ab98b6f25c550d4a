"""MultiEMO (Shi and Huang, ACL 2023): a recurrence per modality, attention between modalities, three loss terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from pipeline.params import Positive, Share, Size
from pipeline.strict import Strict
from train.models.declaration import Dropout, FusionModel, HeadsParams

if TYPE_CHECKING:
    from torch import nn

    from train.targets.goal import Goal


class Params(HeadsParams):
    """The section `model`.

    The defaults are those that `benchmarks.sweep` found best on val of several corpora (docs/results.md).
    evaluate/experiments/paper.py has the paper's settings.

    Attributes:
        compat: `published` also reproduces the authors' code where the default corrects it.
        ffn: the inner size of MultiAttn's feed-forward sublayers.
        layers: the number of layers of each of MultiAttn's stacks.
        head: the inner size of the classifier.
        dropout: in MultiAttn and after the recurrence.
        bidirectional: whether the recurrences read the dialogue in both directions.
        causal: whether a turn's output depends only on that turn and earlier turns. Then the recurrences are not
            bidirectional, and attention reads no later turn.
        text_rnn: whether text has a recurrence.
        multiattn: whether modalities attend to each other. Otherwise they are concatenated.
    """

    compat: Literal["default", "published"] = "default"
    dim: Size = 128
    ffn: Size = 256
    layers: Annotated[int, Field(ge=1, le=256)] = 2
    head: Size = 512
    dropout: Dropout = 0.6
    bidirectional: bool = True
    causal: bool = False
    text_rnn: bool = True
    multiattn: bool = True


class LossParams(Strict):
    """The section `loss`: mu1 SWFC + mu2 Soft-HGR + (1 - mu1 - mu2) CE.

    Attributes:
        mu1: the weight of SWFC.
        mu2: the weight of Soft-HGR.
        temperature: the divisor of SWFC's similarities.
        focus: γ of equation 18. A larger value gives hard pairs more weight.
        alpha: α of equation 19. A larger value gives rare labels more weight.
        soft_hgr: `exact` as in the paper, or `scaled` as in its code.
        swfc_weights: `normalised` label weights sum to 1.
    """

    mu1: Share = 0.3
    mu2: Share = 0.1
    temperature: Positive = 1.0
    focus: Annotated[float, Field(ge=0)] = 2.0
    alpha: Annotated[float, Field(ge=0)] = 1.0
    soft_hgr: Literal["scaled", "exact"] = "scaled"
    swfc_weights: Literal["normalised", "raw"] = "normalised"

    @model_validator(mode="after")
    def _weights(self) -> LossParams:
        if self.mu1 + self.mu2 > 1:
            raise ValueError(
                f"loss.mu1={self.mu1} + loss.mu2={self.mu2} = {self.mu1 + self.mu2:g} > 1 gives cross-entropy a "
                "negative weight; lower one of them"
            )
        return self


class Model(FusionModel):
    """MultiEMO reads whole dialogues of pooled features."""

    params = Params
    loss_params = LossParams
    one_label = ("mu1",)

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.multiemo.network import MultiEMO

        return MultiEMO(dims, classes, params)

    @override
    def loss(self, params: LossParams, goal: Goal) -> nn.Module:
        from train.models.multiemo.losses import MultiEMOLoss

        return MultiEMOLoss(params, goal)
