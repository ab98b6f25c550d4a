"""The face stream without its network, for `benchmarks.extract`.

It is not in the module that is run, because a worker process cannot find the source of a class of `__main__`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from extract.contract import Features
from extract.encoders.face import FaceEncoder


class DetectionOnly(FaceEncoder):
    """Decode, detect and crop faces without running the network."""

    @override
    def encode(self, inputs: Sequence[Any]) -> list[Any]:
        return [Features(np.zeros(self.pooled_dim, np.float32)) for _ in inputs]
