"""Where extraction runs: resources come from the environment, because they may not change a byte."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch


def device() -> torch.device:
    """The device encoders compute on: EMOFUSE_DEVICE (`cpu`, `cuda`, `cuda:1`), else a GPU where there is one.

    Raises:
        UserError: the variable names no device, or one that is not there.
    """
    import torch

    name = os.environ.get("EMOFUSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise UserError(f"EMOFUSE_DEVICE={name!r}: no device; use cpu, cuda or cuda:1") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(f"EMOFUSE_DEVICE={name!r}: PyTorch sees {torch.cuda.device_count()} GPUs here")
    return chosen


def workers() -> int:
    """How many worker processes: EMOFUSE_WORKERS, else one for each core this process may use.

    Raises:
        UserError: the variable is no whole number from 1 up.
    """
    value = os.environ.get("EMOFUSE_WORKERS", "")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"EMOFUSE_WORKERS={value!r}: must be a whole number from 1 up")
    return int(value)
