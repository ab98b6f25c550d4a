"""The one place that seeds, and what a resumed run needs to go on drawing where it was stopped."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int, threads: int) -> torch.Generator:
    """Seed python, numpy and torch, make torch deterministic; return the generator that draws batches.

    Args:
        threads: how many compute on the CPU. How a sum is split among them decides its last bit, so the number is a
            param and not what the machine has.
    """
    torch.set_num_threads(threads)
    # Without it cuBLAS may sum in another order, and torch refuses; read when the first GPU product is computed.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    return torch.Generator().manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Where python's, numpy's and torch's generators are, as values that `write_state` can keep."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put the generators where `random_state` found them."""
    random.setstate(state["python"])
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    torch.cuda.set_rng_state_all(state["cuda"])
