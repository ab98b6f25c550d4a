"""The declaration of a fusion model: its params, network, loss and input.

A declaration imports torch only to build a network or a loss, so that params are checked within a second.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.params import MODALITIES, Size
from pipeline.strict import Strict

if TYPE_CHECKING:
    from torch import nn

    from train.targets.goal import Goal

Dropout = Annotated[float, Field(ge=0, lt=1)]


class ModelParams(Strict):
    """The section `model`. A subclass adds the params of its model.

    Attributes:
        name: the model's key in `MODELS`.
    """

    name: str


class HeadsParams(ModelParams):
    """The section `model` of a model with attention in several heads.

    Attributes:
        dim: the size of every modality's vectors after their projection.
        heads: the number of attention heads, a divisor of `dim`.
    """

    dim: Size = 256
    heads: Size = 4

    @model_validator(mode="after")
    def _heads_divide(self) -> HeadsParams:
        if self.dim % self.heads:
            raise ValueError(f"model.dim={self.dim} is not divisible by model.heads={self.heads}")
        return self


class NoLossParams(Strict):
    """The section `loss` of a model that uses the goal's loss alone."""


class FusionModel(ABC):
    """The declaration of a model. Each model's folder has a subclass `Model`.

    Attributes:
        params: the class that validates the section `model`.
        loss_params: the class that validates the section `loss`.
        reads: `pooled` for whole dialogues with one vector per utterance and modality (`Batch`), or `frames` for
            single utterances with the frames of each modality (`FrameBatch`).
        modalities: the modalities that the model reads. Streams of other modalities are not used.
        past_only: whether no output depends on later turns, whatever the params. A model that has the choice has a
            param `causal`.
        one_label: the weights in `loss_params` of terms that need one label per utterance.
    """

    params: ClassVar[type[ModelParams]] = ModelParams
    loss_params: ClassVar[type[Strict]] = NoLossParams
    reads: ClassVar[Literal["pooled", "frames"]] = "pooled"
    modalities: ClassVar[tuple[str, ...]] = MODALITIES
    past_only: ClassVar[bool] = False
    one_label: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def network(self, dims: Mapping[str, int], classes: int, params: Any) -> nn.Module:
        """Return the module that maps a batch to an `Output`.

        Args:
            dims: modality in use → feature size.
            classes: the number of outputs: of labels or of values, C.
            params: an instance of the class `params`.
        """

    def loss(self, params: Any, goal: Goal) -> nn.Module:
        """Return the module that maps an `Output` and its truth to scalars: `total` and each of its terms.

        Args:
            params: an instance of the class `loss_params`.
            goal: what the model learns.
        """
        from train.models.plain_loss import PlainLoss

        return PlainLoss(goal)
