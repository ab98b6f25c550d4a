"""Seed all random generators, and save and restore their states for a resumed run."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int, threads: int) -> torch.Generator:
    """Seed Python, NumPy and torch, make torch deterministic, and return the generator that draws batches.

    Args:
        seed: the seed of all generators.
        threads: the number of CPU threads. It is a param and not the machine's number of cores, because the split of
            a sum among threads changes its last digits.
    """
    torch.set_num_threads(threads)
    # torch's deterministic mode requires this setting, which fixes the order of summation in cuBLAS. cuBLAS reads it
    # at the first matrix product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # PyTorch enables TF32 for convolutions and LSTMs on a GPU; its products have ten bits of precision.
    torch.backends.cudnn.allow_tf32 = False
    return torch.Generator().manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Return the states of the Python, NumPy and torch generators, as values that `write_state` can save."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore the states that `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    torch.cuda.set_rng_state_all(state["cuda"])
