"""The projection of a modality's features to the size of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.layers.layout import Layout
from train.models.contract import Batch


def projected(
    m: str, batch: Batch, layout: Layout, project: nn.ModuleDict, missing: nn.ParameterDict
) -> Tensor:
    """Return a modality's projected features [U, d] in time-major order; a learned vector replaces missing ones.

    Args:
        m: the modality.
        batch: whole dialogues.
        layout: the layout of the same batch.
        project: modality → linear layer from its feature size to d.
        missing: modality → learned vector [d].
    """
    x = project[m](batch.features[m].flatten(0, 1).index_select(0, layout.inputs))
    here = batch.present[m].flatten()[layout.inputs, None]
    return torch.where(here, x, missing[m].to(x.dtype))
