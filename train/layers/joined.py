"""One vector for each utterance: the modalities' projections side by side, brought to one size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.models.contract import MODALITIES, Batch


class Joined(nn.Module):
    """A dense layer for each modality and one over their concatenation.

    A missing feature enters the concatenation as a learned vector of its modality.

    Args:
        dims: modality → feature size, modalities in use only.
        dim: size of every projection and of the result.
    """

    def __init__(self, dims: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], dim) for m in self.modalities})
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(dim)) for m in self.modalities})
        self.join = nn.Linear(dim * len(self.modalities), dim)

    def forward(self, batch: Batch) -> Tensor:
        """Return [B, T, d]; padded turns hold the vector of an utterance without features."""
        parts = []
        for m in self.modalities:
            x = self.project[m](batch.features[m])
            parts.append(torch.where(batch.present[m][..., None], x, self.missing[m].to(x.dtype)))
        joined: Tensor = self.join(torch.cat(parts, -1))
        return joined
