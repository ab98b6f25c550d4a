"""A modality's features on their way into a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.layers.layout import Layout
from train.models.contract import Batch


def projected(
    m: str, batch: Batch, layout: Layout, project: nn.ModuleDict, missing: nn.ParameterDict
) -> Tensor:
    """A modality's features through its projection, the learned vector where there is none: [U, d], time-major."""
    x = project[m](batch.features[m].flatten(0, 1).index_select(0, layout.inputs))
    here = batch.present[m].flatten()[layout.inputs, None]
    return torch.where(here, x, missing[m].to(x.dtype))
