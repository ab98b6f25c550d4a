"""QMNN (Li et al., AAAI 2021): utterances as quantum states, with a recurrence of density matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """The section `model`.

    Attributes:
        dim: the size of the states, D.
        head: the inner size of the classifier.
        dropout: before the last layer of the classifier.
    """

    dim: Size = 100
    head: Size = 80
    dropout: Dropout = 0.0


class Model(FusionModel):
    """QMNN reads whole dialogues of pooled features."""

    params = Params
    past_only = True

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.qmnn.network import QMNN

        return QMNN(dims, classes, params)
