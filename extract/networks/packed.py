"""Linear layers in oneDNN's packed layout, for inference with a frozen encoder on an x86 CPU.

The pass of an utterance has few rows (50 tokens, 150 frames of sound). So packing a weight matrix, or rounding it to
bfloat16, in each pass takes much of the pass's time. Here it is done once. On other processors than Intel's, oneDNN
is also the faster library.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn
from typing_extensions import override


class PackedLinear(nn.Module):
    """`nn.Linear` without gradients, [..., I] -> [..., O], computed in `dtype`.

    The first call packs the weights, because some models read a layer's weights and never call it (WavLM's attention).
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features, self.dtype = linear.in_features, linear.out_features, dtype
        self._weight: Tensor = linear.weight.detach()
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    @property
    def weight(self) -> Tensor:
        """The weights [O, I] as in `nn.Linear`."""
        return self._weight.to_dense() if self._weight.is_mkldnn else self._weight

    @override
    def forward(self, x: Tensor) -> Tensor:
        if not self._weight.is_mkldnn:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight.to(self.dtype), None)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self._weight, self.bias, "none", [], ""
        )
        return out


def pack(model: nn.Module, precision: str) -> None:
    """Replace the linear layers of a frozen float32 model on the CPU in place, if this machine computes them faster."""
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return
    if precision == "fp16" or (precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child, dtype))
