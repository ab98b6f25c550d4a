"""Packed linear layers: torch's own values, laid out once."""

from __future__ import annotations

import platform

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from extract.networks.packed import PackedLinear, pack

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
    reason="packs on x86 with oneDNN alone",
)


class Model(nn.Module):
    """One layer that is called, one whose weights are read by name as WavLM's attention does, one without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.called = nn.Linear(64, 96)
        self.read = nn.Linear(96, 32)
        self.inner = nn.ModuleList([nn.Linear(32, 48, bias=False)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner[0](F.linear(F.gelu(self.called(x)), self.read.weight, self.read.bias))


@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (2, 33, 64), (1, 500, 64)])
def test_values_are_torchs_own(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, x = Model().eval(), torch.randn(shape)
    with torch.inference_mode():
        expected = model(x)
        pack(model, "fp32")
        for _ in range(2):  # the first call packs
            torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)


def test_bf16_is_autocasts() -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bf16")
    torch.manual_seed(0)
    model, x = Model().eval(), torch.randn(40, 64)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = model(x)
        pack(model, "bf16")
        assert model(x).dtype == expected.dtype == torch.bfloat16
        torch.testing.assert_close(model(x), expected, rtol=0, atol=0.02)


def test_a_weight_is_kept_once_and_can_be_read() -> None:
    layer = nn.Linear(64, 96).eval()
    packed = PackedLinear(layer, torch.float32)
    with torch.inference_mode():
        assert packed.weight.data_ptr() == layer.weight.data_ptr()
        packed(torch.randn(3, 64))
        assert packed._weight.is_mkldnn
        assert torch.equal(packed.weight, layer.weight)
    assert not any(isinstance(value, nn.Parameter) for value in vars(packed).values())


def test_what_cannot_be_packed_is_left() -> None:
    model = Model()
    pack(model, "fp16")
    assert type(model.called) is nn.Linear
    attention = nn.MultiheadAttention(8, 2)
    pack(attention, "fp32")
    assert isinstance(attention.out_proj, nn.Linear)  # torch reads its weights itself
