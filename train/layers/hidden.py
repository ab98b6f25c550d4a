"""MERBench's encoder of pooled features: one hidden vector per utterance and modality, without context."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from train.models.contract import MODALITIES, Batch


class MLP(nn.Sequential):
    """Dropout and two dense layers with ReLU: [..., n] → [..., d].

    Args:
        size: the size of the input, n.
        dim: the size of the output, d.
        dropout: of the input.
    """

    def __init__(self, size: int, dim: int, dropout: float) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(size, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())


class Hidden(nn.Module):
    """An MLP per modality.

    Args:
        dims: modality in use → feature size.
        dim: the size of a hidden vector, d.
        dropout: of the inputs of the MLPs.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, dropout: float) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        self.encode = nn.ModuleDict({m: MLP(dims[m], dim, dropout) for m in self.modalities})

    def forward(self, batch: Batch) -> list[Tensor]:
        """Return [U, d] of the U utterances for each modality, 0 where its feature is missing."""
        real = batch.real()
        return [
            self.encode[m](batch.features[m][real]).masked_fill(~batch.present[m][real][:, None], 0)
            for m in self.modalities
        ]
