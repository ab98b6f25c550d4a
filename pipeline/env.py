"""What a run may use of the machine: it comes from the environment, because it may not change a byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch

ENGINES = ("local", "ray")
# How often a sum is split decides its last bit, so every library computes on one thread where no param asks for more;
# and threads that wait sleep: two that spin for each other on a busy machine cost many times what they save.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
     "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
) | {"TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0",
     "OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}  # fmt: skip
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = Path("/proc/self/cgroup")


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


def gpus_here() -> list[str]:
    """The GPUs of this machine that a run may use: all, or the one that EMOFUSE_DEVICE names; none under `cpu`.

    Raises:
        UserError: as `device`.
    """
    import torch

    chosen = device()
    if chosen.type != "cuda":
        return []
    indices = range(torch.cuda.device_count()) if chosen.index is None else [chosen.index]
    return [f"cuda:{index}" for index in indices]


def media_root(folder: str | Path) -> Path:
    """Return the folder that `media` paths are relative to: EMOFUSE_MEDIA if it is set, otherwise `folder`."""
    return Path(os.environ.get("EMOFUSE_MEDIA") or folder)


def workers() -> int | None:
    """How many workers: EMOFUSE_WORKERS; None where it is not set: as many as the engine has room for.

    Raises:
        UserError: the variable is no whole number from 1 up.
    """
    return _count("EMOFUSE_WORKERS")


def cores() -> int:
    """The cores that this run may use: EMOFUSE_THREADS, else those that the system gives this process.

    A share of a core (a container's quota of 1.5) counts only where there is no whole one.

    Raises:
        UserError: EMOFUSE_THREADS is no whole number from 1 up.
    """
    if asked := _count("EMOFUSE_THREADS"):
        return asked
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([there, *map(int, _quotas())]))


def _quotas() -> Iterator[float]:
    """Cores that each control group above this process allows (Linux: cgroup v2 and v1)."""
    lines = CGROUP.read_text().splitlines() if CGROUP.exists() else []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = CGROUPS / "cpu" if controllers else CGROUPS
        # In a container the group's path may be the host's, of which only the top is to be seen.
        place = top / group.strip("/")
        for folder in [place, *place.parents]:
            if folder.is_relative_to(top):
                yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        files = [folder / name for name in names]
        if all(file.is_file() for file in files):
            quota, period = " ".join(file.read_text() for file in files).split()
            if quota not in ("max", "-1"):
                yield int(quota) / int(period)


def _count(name: str) -> int | None:
    value = os.environ.get(name, "")
    if not value:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"{name}={value!r}: must be a whole number from 1 up")
    return int(value)


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
