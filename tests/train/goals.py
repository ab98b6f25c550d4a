"""Goals and their truths for the tests of models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.params import TargetKind
from tests.train import small
from train.targets import goal_of
from train.targets.goal import Goal
from train.targets.single import Single

KINDS: tuple[TargetKind, ...] = ("single", "soft", "multi", "values")


def single(counts: Any) -> Single:
    """Return the goal of single labels with these counts [C]."""
    counts = torch.as_tensor(counts)
    return Single([f"label {i}" for i in range(len(counts))], counts)


def truth(kind: str, labels: Tensor, outputs: int, seed: int = 0) -> Tensor:
    """Return a truth of the kind, unlabelled where `labels` [n] is -1, in which the label dominates."""
    if kind == "single":
        return labels
    draw = torch.Generator().manual_seed(seed)
    found = 0.3 * torch.rand(len(labels), outputs, generator=draw)
    found[torch.arange(len(labels)), labels.clamp(min=0)] += 1
    if kind == "soft":
        found = found / found.sum(1, keepdim=True)
    elif kind == "multi":
        found = (found > 0.2).float()
    return found.masked_fill((labels < 0)[:, None], torch.nan)


def goal(kind: TargetKind, labels: Tensor, outputs: int) -> Goal:
    """Return the goal whose train split has `truth(kind, labels, outputs)`."""
    names = [f"name {i}" for i in range(outputs)]
    return goal_of(kind, names, truth(kind, labels, outputs), small.params().train)
