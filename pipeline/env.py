"""Read the resources of a run (device, cores, workers) from the environment; they never change an output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch

ENGINES = ("local", "ray")
# The number of threads changes a sum's last digit, so every library uses one thread unless a param sets more. A waiting
# thread of OpenMP spins for some microseconds and then sleeps. Without any spinning, small models train at half the
# speed on two idle cores; with PyTorch's long spinning, everything is much slower on a busy machine.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
     "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
) | {"TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0",
     "OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}  # fmt: skip
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = Path("/proc/self/cgroup")


def device() -> torch.device:
    """Return the encoders' device: EMOFUSE_DEVICE (`cpu`, `cuda`, `cuda:1`), else a GPU if there is one, else the CPU.

    Raises:
        UserError: if the variable's value is not a device, or the device is missing.
    """
    import torch

    name = os.environ.get("EMOFUSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise UserError(f"EMOFUSE_DEVICE={name!r}: unknown device; set cpu, cuda or cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"EMOFUSE_DEVICE={name!r}: no such GPU; PyTorch finds {torch.cuda.device_count()}; set cpu or another GPU"
        )
    return chosen


def gpus_here() -> list[str]:
    """Return this machine's GPUs that a run may use: all, or that of EMOFUSE_DEVICE; none if it is `cpu`.

    Raises:
        UserError: see `device`.
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
    """Return the number of workers, EMOFUSE_WORKERS; None if it is not set: as many as the engine allows.

    Raises:
        UserError: if the variable is not a whole number, 1 or more.
    """
    return _count("EMOFUSE_WORKERS")


def workers_each(streams: int) -> int | None:
    """Return the number of workers of each of several streams that are extracted side by side.

    It is EMOFUSE_WORKERS if that is set, otherwise an equal part of the cores, at least 1. None: one per GPU, or what
    the engine allows for a stream alone.

    Raises:
        UserError: EMOFUSE_WORKERS, EMOFUSE_THREADS or EMOFUSE_DEVICE is invalid.
    """
    if workers() or streams == 1 or gpus_here():
        return workers()
    return max(1, cores() // streams)


def cores() -> int:
    """Return the number of cores that this run may use: EMOFUSE_THREADS, else the process's limit.

    A container's quota is rounded down (1.5 to 1), but to at least 1.

    Raises:
        UserError: if EMOFUSE_THREADS is not a whole number, 1 or more.
    """
    if asked := _count("EMOFUSE_THREADS"):
        return asked
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([there, *map(int, _quotas())]))


def _quotas() -> Iterator[float]:
    """Yield the number of cores allowed by each control group of this process (Linux: cgroup v2 and v1)."""
    lines = CGROUP.read_text().splitlines() if CGROUP.exists() else []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = CGROUPS / "cpu" if controllers else CGROUPS
        # In a container, the group's path may be the host's, of which only the root is visible.
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
        raise UserError(f"{name}={value!r}: must be a whole number, 1 or more")
    return int(value)


def engine() -> str:
    """Return the engine that runs the workers, EMOFUSE_ENGINE: `local` (default) or `ray`.

    Raises:
        UserError: if the engine is unknown.
    """
    name = os.environ.get("EMOFUSE_ENGINE") or "local"
    if name not in ENGINES:
        raise UserError(f"EMOFUSE_ENGINE={name!r}: must be one of {', '.join(ENGINES)}")
    return name


def gpus() -> float | None:
    """Return the number of GPUs per worker of the Ray engine, EMOFUSE_GPUS; None if it is not set.

    It may be a share of a GPU, such as 0.25.

    Raises:
        UserError: if the variable is negative, not a number, or a fraction above 1.
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
