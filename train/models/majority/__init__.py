"""The most frequent label, the score that no model may fall below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from train.models.declaration import FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Model(FusionModel):
    """The labels alone, of whole dialogues."""

    def network(self, dims: Mapping[str, int], classes: int, params: ModelParams) -> nn.Module:
        from train.models.majority.network import Majority

        return Majority(dims, classes, params)
