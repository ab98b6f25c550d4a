"""An encoder without a model, which returns 64 floats from a hash of the text.

`benchmarks.scale` uses it to measure the cost of everything except the model.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from extract.contract import Encoder, Failure, Features, Item
from pipeline.params import StreamParams
from pipeline.tables.schema import Utterance

DIM = 64


class SyntheticParams(StreamParams):
    """Params of the synthetic encoder.

    Attributes:
        work: CPU time per utterance in milliseconds.
    """

    work: float = 0.0


class SyntheticEncoder(Encoder[SyntheticParams]):
    """Hash each text to 64 floats."""

    modality: ClassVar[str] = "text"
    params_model: ClassVar[type[StreamParams]] = SyntheticParams
    pooled_dim = DIM
    frames_dim = 0
    batch_size = 32

    def __init__(self, params: SyntheticParams, media: Path) -> None:
        super().__init__(params, media)

    @override
    def weights(self) -> dict[str, str]:
        return {"name": "", "revision": "", "sha256": ""}

    @override
    def packages(self) -> tuple[str, ...]:
        return ("numpy",)

    @override
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        text = dialogue[i].text
        return Item({"text": text, "utterance": dialogue[i].utterance}, length=text.count(" ") + 1)

    @override
    def read(self, item: Item) -> Any | Failure:
        return item.key

    @override
    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        until = time.thread_time() + self.params.work / 1000 * len(inputs)
        while time.thread_time() < until:
            hashlib.sha256(b"work" * 1000)
        return [Features(_floats(key)) for key in inputs]


def _floats(key: str) -> np.ndarray:
    bits = np.frombuffer(hashlib.shake_256(key.encode()).digest(4 * DIM), np.uint32)
    return (bits / np.float32(2**32)).astype(np.float32)
