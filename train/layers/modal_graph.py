"""A graph whose nodes are the features of a dialogue: M modalities of T turns, modality-major."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.layers.codes import Speakers
from train.layers.context import Context
from train.models.contract import Batch


class ModalNodes(nn.Module):
    """Make a node of each feature: its projection, for text with its context, and the speaker's vector.

    A missing feature is replaced by a learned vector of its modality. A node has `2 * dim` numbers.
    """

    def __init__(
        self,
        dims: dict[str, int],
        kind: type[nn.GRU | nn.LSTM],
        dim: int,
        dropout: float,
        causal: bool,
    ) -> None:
        super().__init__()
        size = 2 * dim
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], size) for m in dims})
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(size)) for m in dims})
        self.text = Context(kind, size, dim, dropout, causal) if "text" in dims else None
        self.speakers = Speakers(size)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the nodes `[B, M, T, 2 * dim]` and which of them have a feature, `[B, M, T]` bool."""
        nodes, present = [], [batch.present[m] for m in self.project]
        for (m, project), here in zip(self.project.items(), present, strict=True):
            x = torch.where(here[..., None], project(batch.features[m]), self.missing[m])
            nodes.append(self.text(x, batch.lengths) if m == "text" and self.text is not None else x)
        speaker = self.speakers(batch.speakers)
        return torch.stack([x + speaker for x in nodes], 1), torch.stack(present, 1)


def adjacency(present: Tensor, causal: bool) -> Tensor:
    """Return `[B, M * T, M * T]` bool: True where the node of the row receives from the node of the column.

    Two nodes are joined within a modality or within a turn, each node with itself, and a missing feature with nothing.

    Args:
        present: `[B, M, T]` bool.
        causal: whether a node receives from its own and earlier turns alone.
    """
    modalities, turns = present.shape[1:]
    modality = torch.arange(modalities, device=present.device).repeat_interleave(turns)
    turn = torch.arange(turns, device=present.device).repeat(modalities)
    pairs = (modality == modality[:, None]) | (turn == turn[:, None])
    if causal:
        pairs &= turn <= turn[:, None]
    nodes = present.flatten(1)
    return pairs & nodes[:, :, None] & nodes[:, None, :]
