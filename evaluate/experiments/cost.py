"""The cost of an experiment: training time and number of parameters."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import dvc.api
from dvc.exceptions import DvcException

from evaluate.experiments.clone import git, head, ref
from evaluate.experiments.worker import SECONDS


def cost(name: str) -> dict[str, float]:
    """Return what an experiment of HEAD cost.

    `seconds` is the time of its `train` stage, for all seeds. DVC's queue does not record it, and then it is NaN.
    `parameters` counts the values in one model's weights; it is NaN if they are not in DVC's cache.
    """
    return {"seconds": _seconds(name), "parameters": _parameters(name)}


def _seconds(name: str) -> float:
    form = f"--format=%(contents:trailers:key={SECONDS},valueonly)"
    found = git(Path(), "for-each-ref", form, ref(head(Path()), name)).strip()
    return float(found) if found else math.nan


def _parameters(name: str) -> float:
    files = dvc.api.DVCFileSystem(rev=name)
    try:
        path = sorted(files.glob("models/seed*/model.safetensors"))[0]
        with files.open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            tensors = json.loads(file.read(length))
    except (DvcException, FileNotFoundError, IndexError):
        return math.nan
    sizes = [math.prod(tensor["shape"]) for name, tensor in tensors.items() if name != "__metadata__"]
    return float(sum(sizes))
