"""Logistic regression on the concatenated features of each utterance: the baseline for every other model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from train.models.declaration import FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Model(FusionModel):
    """Logistic regression reads pooled features, one utterance at a time."""

    past_only = True

    @override
    def network(self, dims: Mapping[str, int], classes: int, params: ModelParams) -> nn.Module:
        from train.layers.logistic import LogisticRegression

        return LogisticRegression(dims, classes, before=0, after=0)
