"""One vector per utterance, from the concatenated projections of its modalities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.models.contract import MODALITIES, Batch


class Joined(nn.Module):
    """A dense layer per modality, and one over their concatenation.

    A learned vector of the modality replaces the projection of a missing feature.

    Args:
        dims: modality in use → feature size.
        dim: the size of every projection and of the output, d.
    """

    def __init__(self, dims: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], dim) for m in self.modalities})
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(dim)) for m in self.modalities})
        self.join = nn.Linear(dim * len(self.modalities), dim)

    def forward(self, batch: Batch) -> Tensor:
        """Return [B, T, d]. The vectors of padded turns are those of an utterance without features."""
        parts = []
        for m in self.modalities:
            x = self.project[m](batch.features[m])
            parts.append(torch.where(batch.present[m][..., None], x, self.missing[m].to(x.dtype)))
        joined: Tensor = self.join(torch.cat(parts, -1))
        return joined
