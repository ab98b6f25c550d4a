"""What a model learns, one module for each `corpus.target`: its loss, its answers and its scores on val."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.params import TargetKind
from train.targets.goal import Goal
from train.targets.multi import Multi
from train.targets.single import Single
from train.targets.soft import Soft
from train.targets.values import Values

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.params import TrainParams
    from train.record import Record

GOALS: dict[TargetKind, type[Goal]] = {"single": Single, "soft": Soft, "multi": Multi, "values": Values}


def goal_of(kind: TargetKind, names: list[str], truth: Tensor, train: TrainParams) -> Goal:
    """Return the goal of a run.

    Args:
        kind: `corpus.target`.
        names: the names of the outputs.
        truth: [N] or [N, K] of the train split, as `Labelled.labels`.
        train: the section `train` of params.yaml.
    """
    return GOALS[kind].of(names, truth, train)


def recorded_goal(record: Record) -> Goal:
    """Return the goal of a trained model."""
    return GOALS[record.target].recorded(record)
