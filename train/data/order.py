"""The order of units in an epoch, and their grouping into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


def batches(
    chosen: Sequence[int], size: int, generator: torch.Generator | None = None
) -> Iterator[list[int]]:
    """Yield groups of at most `size` units, shuffled by `generator`, or in order without it."""
    order = torch.randperm(len(chosen), generator=generator).tolist() if generator else range(len(chosen))
    for start in range(0, len(chosen), size):
        yield [chosen[order[i]] for i in range(start, min(start + size, len(chosen)))]


def bucketed(
    order: Sequence[int], sizes: Sequence[int] | np.ndarray, size: int, pool: int, generator: torch.Generator
) -> list[list[int]]:
    """Return batches of units of similar size, in random order.

    Args:
        order: the units, in random order.
        sizes: the size of each unit.
        size: the largest number of units in a batch.
        pool: how many batches are sorted by size together.
        generator: shuffles the batches.
    """
    groups: list[list[int]] = []
    for some in batches(order, pool * size):
        groups += batches(sorted(some, key=lambda i: sizes[i]), size)
    return [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
