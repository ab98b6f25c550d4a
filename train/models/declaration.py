"""What a fusion model says of itself: its params, its network, its loss, and what it reads.

A declaration imports no torch before it builds something, so that params are checked within a second.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.params import MODALITIES
from pipeline.strict import Strict

if TYPE_CHECKING:
    from torch import Tensor, nn

Dropout = Annotated[float, Field(ge=0, lt=1)]


class ModelParams(Strict):
    """The section `model` of every model; a model's own class adds its knobs."""

    name: str


class NoLossParams(Strict):
    """The section `loss` of a model that has no loss of its own."""


class FusionModel(ABC):
    """A model's declaration: `Model` in its folder.

    Attributes:
        params: validates the section `model`.
        loss_params: validates the section `loss`.
        reads: `pooled`, whole dialogues of one vector an utterance and modality (`Batch`), or `frames`, single
            utterances with the frames of each modality (`FrameBatch`).
        modalities: those that it reads; streams of others are left out.
    """

    params: ClassVar[type[ModelParams]] = ModelParams
    loss_params: ClassVar[type[Strict]] = NoLossParams
    reads: ClassVar[Literal["pooled", "frames"]] = "pooled"
    modalities: ClassVar[tuple[str, ...]] = MODALITIES

    @abstractmethod
    def network(self, dims: Mapping[str, int], classes: int, params: Any) -> nn.Module:
        """Return the module from a batch to an `Output`.

        Args:
            dims: modality in use → feature size.
            classes: number of labels.
            params: of the class `params`.
        """

    def loss(self, params: Any, counts: Tensor) -> nn.Module:
        """Return the module from an `Output` and labels [U] to {"total": scalar, and each of its terms}.

        Args:
            params: of the class `loss_params`.
            counts: [C] labelled utterances of the train split per label.
        """
        from train.models.cross_entropy import CrossEntropy

        return CrossEntropy()
