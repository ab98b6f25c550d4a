"""The parameter groups of fine-tuning: weight decay by kind, learning rate by layer.

Layer-wise learning rate decay follows ELECTRA (Clark et al., ICLR 2020, appendix A): the layers near the input, which
hold general knowledge, change more slowly than those near the output.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def groups(
    network: nn.Module, head: nn.Module, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Return the optimiser's groups; the key `share` of a group is its share of the learning rate.

    The head has the share 1. With L layers, layer l = 0 … L - 1 has `layer_decay ** (L - l)`, and what the network
    defines before its layers (embeddings, convolutions) `layer_decay ** (L + 1)`. What it defines after them has the
    share of the last layer. Biases and norms have no weight decay. Frozen parameters are left out.

    Args:
        network: the encoder; its layers are the `ModuleList` with the most parameters.
        head: the classifier.
        weight_decay: of matrices.
        layer_decay: the factor from one layer to the layer below.
    """
    depths = _depths(network)
    found: dict[tuple[int, bool], dict[str, Any]] = {}
    named = [(depths.get(id(p), 1), p) for p in network.parameters()] + [(0, p) for p in head.parameters()]
    for depth, parameter in named:
        if parameter.requires_grad:
            matrix = parameter.ndim > 1
            group = {"params": [], "weight_decay": weight_decay * matrix, "share": layer_decay**depth}
            found.setdefault((depth, matrix), group)["params"].append(parameter)
    return list(found.values())


def _depths(network: nn.Module) -> dict[int, int]:
    """Return {id of a parameter: distance of its layer from the head}, without those defined after the layers."""
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=_size, default=nn.ModuleList())
    depths = {id(p): len(layers) - i for i, layer in enumerate(layers) for p in layer.parameters()}
    for parameter in network.parameters():
        if id(parameter) in depths:
            break
        depths[id(parameter)] = len(layers) + 1
    return depths


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
