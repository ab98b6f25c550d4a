"""QMNN (Li et al., AAAI 2021): an utterance is a quantum mixture, a dialogue its evolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from pipeline.params import Size
from train.models.declaration import Dropout, FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Params(ModelParams):
    """Sizes of the network.

    Attributes:
        dim: size D of the states; memory and time grow with its square and its cube.
        head: inner size of the classifier.
        dropout: before the classifier's last layer.
    """

    dim: Size = 100
    head: Size = 80
    dropout: Dropout = 0.0


class Model(FusionModel):
    """Whole dialogues of pooled features."""

    params = Params

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: Params) -> nn.Module:
        from train.models.qmnn.network import QMNN

        return QMNN(dims, classes, params)
