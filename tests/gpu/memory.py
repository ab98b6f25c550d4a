"""An encoder whose batches need more memory than the device may use: three items fit, four do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from extract.contract import Failure, Features, Item
from pipeline.env import device
from tests.extract.fake_encoders import FakeEncoder

ITEM, LIMIT = 64 * 2**20, 224 * 2**20
LARGE = 8


class GreedyEncoder(FakeEncoder):
    """An encoder that fills `ITEM` bytes of the device for each item, and `LARGE` times as many for `large`."""

    def packages(self) -> tuple[str, ...]:
        return ("numpy", "torch")

    def read(self, item: Item) -> Any | Failure:
        return item.content["texts"][-1]

    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        filled = fill(sum(LARGE if "large" in text.split() else 1 for text in inputs) * ITEM)
        found = super().encode(inputs)
        del filled
        return found


def fill(size: int) -> torch.Tensor:
    """Return `size` bytes of the device.

    Raises:
        torch.OutOfMemoryError: more than `LIMIT` bytes.
    """
    where = device()
    if where.type == "cuda":
        share = LIMIT / torch.cuda.get_device_properties(where).total_memory
        torch.cuda.set_per_process_memory_fraction(share, where)
    elif size > LIMIT:
        raise torch.OutOfMemoryError("out of memory, as a GPU reports it")
    return torch.ones(size, dtype=torch.uint8, device=where)
