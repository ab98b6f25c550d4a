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
    from torch import Tensor, nn

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
    """The section `loss` of a model that uses plain cross-entropy."""


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
    """

    params: ClassVar[type[ModelParams]] = ModelParams
    loss_params: ClassVar[type[Strict]] = NoLossParams
    reads: ClassVar[Literal["pooled", "frames"]] = "pooled"
    modalities: ClassVar[tuple[str, ...]] = MODALITIES
    past_only: ClassVar[bool] = False

    @abstractmethod
    def network(self, dims: Mapping[str, int], classes: int, params: Any) -> nn.Module:
        """Return the module that maps a batch to an `Output`.

        Args:
            dims: modality in use → feature size.
            classes: the number of labels, C.
            params: an instance of the class `params`.
        """

    def loss(self, params: Any, counts: Tensor) -> nn.Module:
        """Return the module that maps an `Output` and labels [U] to scalars: `total` and each of its terms.

        Args:
            params: an instance of the class `loss_params`.
            counts: [C] number of labelled train utterances per label.
        """
        from train.models.cross_entropy import CrossEntropy

        return CrossEntropy()
