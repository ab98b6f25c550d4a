"""The annotation of utterances as a tensor.

K is the number of outputs of a model, whose names are `corpus.labels` or `corpus.values`. The truth of n utterances is

    single   [n] long, the number of the label, -1 where unlabelled
    soft     [n, K] float, shares that sum to 1; a row of NaN where unlabelled
    multi    [n, K] float, 1 for each label that applies, else 0; a row of NaN where unlabelled
    values   [n, K] float, NaN where unrated
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.params import TargetKind
from pipeline.tables.target import Target


def truth_of(table: pd.DataFrame, target: Target) -> Tensor:
    """Return the truth of each row.

    Args:
        table: labels.csv with n rows, as `read_labels` returns it.
        target: what a model learns.
    """
    if target.kind == "values":
        return torch.tensor(table[target.names].to_numpy(dtype=np.float32))
    number = {name: i for i, name in enumerate(target.names)}
    if target.kind == "single":
        return torch.tensor([number.get(emotion, -1) for emotion in table["emotion"]])
    found = torch.full((len(table), len(number)), math.nan)
    for row, emotion in enumerate(table["emotion"]):
        if votes := target.shares(emotion):
            found[row] = 0.0
            for name, count in votes.items():
                found[row, number[name]] = count
    return found / found.sum(1, keepdim=True) if target.kind == "soft" else found


def known(truth: Tensor) -> Tensor:
    """Return [n] bool, which utterances are labelled, or have a rated value."""
    return truth >= 0 if truth.dim() == 1 else ~truth.isnan().all(-1)


def majority(truth: Tensor) -> Tensor:
    """Return [n] long, the label with the largest share; -1 where shares are tied or unlabelled.

    Args:
        truth: [n, K] shares.
    """
    top, label = truth.nan_to_num(0.0).max(-1)
    tied = (truth == top[:, None]).sum(-1) != 1
    return label.masked_fill(tied | ~known(truth), -1)


def one_label(truth: Tensor, kind: TargetKind, user: str) -> Tensor:
    """Return [n] long, the one label of each utterance; -1 where there is none, such as for tied votes.

    Args:
        truth: of n utterances.
        kind: `corpus.target`.
        user: what needs one label, for the message.

    Raises:
        UserError: utterances have several labels, or values.
    """
    if kind == "single":
        return truth
    if kind == "soft":
        return majority(truth)
    raise UserError(
        f"corpus.target={kind}: {user}, which needs one label per utterance; set corpus.target to single or soft"
    )
