"""The correspondence between the published Foal-Net's weights and this project's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from train.models.renaming import Find, Pairs, linear


def foalnet(find: Find, ours: Mapping[str, Tensor]) -> Pairs:
    """Yield the pairs of Foal-Net's fusion heads. In the published model every block projects keys and values."""
    for m, other, side in ("audio", "a2v", "audio"), ("visual", "v2a", "video"):
        layers = sum(name.startswith(f"stacks.{m}.blocks.") and name.endswith("norm.bias") for name in ours)
        for i in range(layers):
            yield from foalnet_block(find, ours, f"{other}.{i}.", f"stacks.{m}.", i, layers)
        yield from foalnet_projection(find, ours, f"{side}_project.", f"align.{m}.")
        yield from linear(find, f"{other}_head", ours, f"match.{m}")
    yield find("temp"), ours["temperature"]
    yield from linear(find, "cls_head", ours, "classify")


def foalnet_block(
    find: Find, ours: Mapping[str, Tensor], prefix: str, own: str, i: int, layers: int
) -> Pairs:
    """Yield the pairs of block i of a stack. The rows of our `memory` are ordered by layer, then (key, value)."""
    for theirs, name in ("w_q", "query"), ("w_concat", "project"), ("ln", "norm"):
        yield from linear(find, f"{prefix}{theirs}", ours, f"{own}blocks.{i}.{name}")
    for kind in "weight", "bias":
        memory = torch.unflatten(ours[f"{own}memory.{kind}"], 0, (layers, 2, -1))
        for theirs, part in zip("kv", memory[i], strict=True):
            yield find(f"{prefix}w_{theirs}.{kind}", *part.shape), part


def foalnet_projection(find: Find, ours: Mapping[str, Tensor], prefix: str, own: str) -> Pairs:
    """Yield the pairs of a projection head."""
    for theirs, name in ("linear1", "enter"), ("linear2", "change"):
        part = ours[f"{own}{name}.weight"]
        yield find(f"{prefix}{theirs}.weight", *part.shape), part
    yield from linear(find, f"{prefix}layer_norm", ours, f"{own}norm")
