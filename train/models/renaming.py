"""Pairs of tensors: a part of a published model's, and the same part of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

Find = Callable[..., Tensor]  # (published name, *shape) -> the published tensor
Pairs = Iterator[tuple[Tensor, Tensor]]  # (part of a published tensor, the same part of one of ours)


def linear(find: Find, name: str, ours: Mapping[str, Tensor], own: str) -> Pairs:
    """Yield weight and bias of a layer that is called `name` there and `own` here."""
    for kind in "weight", "bias":
        part = ours[f"{own}.{kind}"]
        yield find(f"{name}.{kind}", *part.shape), part
