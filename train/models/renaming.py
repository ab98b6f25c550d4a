"""Pairs of corresponding weights: a part of a published model's tensor, and a part of this project's tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

Find = Callable[..., Tensor]  # (published name, *shape) -> the published tensor
Pairs = Iterator[tuple[Tensor, Tensor]]  # (part of a published tensor, corresponding part of ours)


def linear(find: Find, name: str, ours: Mapping[str, Tensor], own: str) -> Pairs:
    """Yield the weight and the bias of a layer, called `name` in the published model and `own` in ours.

    Args:
        find: returns a published tensor.
        name: the published name of the layer.
        ours: our tensors by name.
        own: our name of the layer.
    """
    for kind in "weight", "bias":
        part = ours[f"{own}.{kind}"]
        yield find(f"{name}.{kind}", *part.shape), part
