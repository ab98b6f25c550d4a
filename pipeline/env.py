"""Where extraction runs: resources come from the environment, because they may not change a byte."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch

ENGINES = ("local", "ray")


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
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise UserError(f"EMOFUSE_DEVICE={name!r}: no device to compute on; use cpu, cuda or cuda:1")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(f"EMOFUSE_DEVICE={name!r}: PyTorch sees {torch.cuda.device_count()} GPUs here")
    return chosen


def workers() -> int | None:
    """How many workers: EMOFUSE_WORKERS; None where it is not set: as many as the engine has room for.

    Raises:
        UserError: the variable is no whole number from 1 up.
    """
    value = os.environ.get("EMOFUSE_WORKERS", "")
    if not value:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"EMOFUSE_WORKERS={value!r}: must be a whole number from 1 up")
    return int(value)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def engine() -> str:
    """What runs the workers: EMOFUSE_ENGINE, `local` (the default) or `ray`.

    Raises:
        UserError: the variable names no engine.
    """
    name = os.environ.get("EMOFUSE_ENGINE") or "local"
    if name not in ENGINES:
        raise UserError(f"EMOFUSE_ENGINE={name!r}: must be one of {', '.join(ENGINES)}")
    return name


def gpus() -> float | None:
    """GPUs for each worker of the Ray engine: EMOFUSE_GPUS, a share such as 0.25 too; None where it is not set.

    Raises:
        UserError: the variable is no number from 0 up, or a fraction of more than one GPU.
    """
    value = os.environ.get("EMOFUSE_GPUS", "")
    if not value:
        return None
    try:
        share = float(value)
        if share >= 0 and (share < 1 or share.is_integer()):
            return share
    except (ValueError, OverflowError):
        pass
    raise UserError(
        f"EMOFUSE_GPUS={value!r}: must be a share of a GPU below 1 (0.25), or a whole number of GPUs"
    )
