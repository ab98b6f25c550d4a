"""Logistic regression on the concatenated features, the baseline to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from train.models.declaration import FusionModel, ModelParams

if TYPE_CHECKING:
    from torch import nn


class Model(FusionModel):
    """Pooled features, each utterance for itself."""

    def network(self, dims: Mapping[str, int], classes: int, params: ModelParams) -> nn.Module:
        from train.models.logreg.network import LogisticRegression

        return LogisticRegression(dims, classes, params)
