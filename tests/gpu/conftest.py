"""The suite for a CUDA device, which compares it with the CPU: `make test-gpu`.

EMOFUSE_DEVICE names the device, `cuda` by default. With `cpu` the suite compares the CPU with itself: a dry run.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from pipeline import env

# Read here, because a fixture of tests/conftest.py removes the caller's settings.
NAME = os.environ.get("EMOFUSE_DEVICE") or "cuda"
# PyTorch reads this once, at the first matrix product. Training sets it, but here other tests come before training.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(autouse=True)
def device(_no_settings_of_the_callers: None, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Return the device under test, which EMOFUSE_DEVICE names during the test."""
    monkeypatch.setenv("EMOFUSE_DEVICE", NAME)
    return env.device()


def gap(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two arrays, relative to the largest expected value if that exceeds 1."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max(initial=0) / max(1.0, np.abs(expected).max(initial=0)))


def pytest_report_header() -> str:
    name = torch.cuda.get_device_name(NAME) if NAME.startswith("cuda") and torch.cuda.is_available() else NAME
    return f"device: {name}"
