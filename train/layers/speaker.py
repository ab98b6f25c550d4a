"""A learned vector for each of a dialogue's speakers."""

from __future__ import annotations

from torch import Tensor, nn


class SpeakerVectors(nn.Module):
    """Vectors of `parties` speakers, numbered by first appearance; further speakers share the last one's."""

    def __init__(self, parties: int, dim: int) -> None:
        super().__init__()
        self.parties = parties
        self.vectors = nn.Embedding(parties, dim)

    def forward(self, speakers: Tensor) -> Tensor:
        """Return `[B, T, dim]` of speakers `[B, T]`."""
        vectors: Tensor = self.vectors(speakers.clamp(max=self.parties - 1))
        return vectors
