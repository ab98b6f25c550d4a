"""Vectors for whole numbers without a largest one: a turn's place in its dialogue, a party's number."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def sinusoid(numbers: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """Return the sines and cosines of Vaswani et al. (2017), section 3.5: [...] long → [..., dim].

    All sines come first, then all cosines: a fixed permutation of the paper's order.
    """
    half = (dim + 1) // 2
    places = torch.arange(half, device=numbers.device, dtype=dtype)
    angles = numbers[..., None].to(dtype) * 10_000 ** (-places / half)
    return torch.cat([angles.sin(), angles.cos()], -1)[..., :dim]


class Speakers(nn.Module):
    """A vector for each party of a dialogue: a learned linear map of its number's sinusoid.

    A table with one learned row for each party, as published models have, would need a largest number of parties.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.map = dim, nn.Linear(dim, dim, bias=False)

    def forward(self, speakers: Tensor) -> Tensor:
        """Return [B, T, d] for parties' numbers [B, T]."""
        vectors: Tensor = self.map(sinusoid(speakers, self.dim, self.map.weight.dtype))
        return vectors
