"""The most frequent label, or the mean values: a lower bound for the score of every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from train.models.declaration import FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Model(FusionModel):
    """The majority baseline reads no features."""

    past_only = True

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: ModelParams) -> nn.Module:
        from train.models.majority.network import Majority

        return Majority(dims, classes, params)
