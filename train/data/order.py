"""In which order units come, and which share a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


def batches(
    chosen: Sequence[int], size: int, generator: torch.Generator | None = None
) -> Iterator[list[int]]:
    """Dialogues in groups of `size`: shuffled by `generator`, or in order without one."""
    order = torch.randperm(len(chosen), generator=generator).tolist() if generator else range(len(chosen))
    for start in range(0, len(chosen), size):
        yield [chosen[order[i]] for i in range(start, min(start + size, len(chosen)))]


def bucketed(
    order: Sequence[int], sizes: Sequence[int] | np.ndarray, size: int, pool: int, generator: torch.Generator
) -> list[list[int]]:
    """Batches of at most `size` of like `sizes`, shuffled among each other: `pool` batches' worth of `order` at a time
    are sorted together.
    """
    groups: list[list[int]] = []
    for some in batches(order, pool * size):
        groups += batches(sorted(some, key=lambda i: sizes[i]), size)
    return [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
