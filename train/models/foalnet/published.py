"""The published Foal-Net's weights and ours, in pairs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from train.models.renaming import Find, Pairs, linear


def foalnet(find: Find, ours: Mapping[str, Tensor]) -> Pairs:
    """Foal-Net's fusion heads. There every block projects keys and values by itself."""
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
    """Block i of a stack. Rows of our `memory`: layer, (key, value)."""
    for theirs, name in ("w_q", "query"), ("w_concat", "project"), ("ln", "norm"):
        yield from linear(find, f"{prefix}{theirs}", ours, f"{own}blocks.{i}.{name}")
    for kind in "weight", "bias":
        for theirs, part in zip(
            "kv", ours[f"{own}memory.{kind}"].unflatten(0, (layers, 2, -1))[i], strict=True
        ):
            yield find(f"{prefix}w_{theirs}.{kind}", *part.shape), part


def foalnet_projection(find: Find, ours: Mapping[str, Tensor], prefix: str, own: str) -> Pairs:
    """One projection head."""
    for theirs, name in ("linear1", "enter"), ("linear2", "change"):
        part = ours[f"{own}{name}.weight"]
        yield find(f"{prefix}{theirs}.weight", *part.shape), part
    yield from linear(find, f"{prefix}layer_norm", ours, f"{own}norm")
