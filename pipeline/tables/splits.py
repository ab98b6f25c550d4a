"""Which dialogue is train, val or test: the one place that decides it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.errors import UserError
from pipeline.tables.schema import UTTERANCES, Utterance

FOLD_VAL_SHARE = 0.1


def splits(
    labels: pd.DataFrame,
    utterances: Sequence[Utterance],
    fold: str | int,
    seed: int,
    field: str = "train.fold",
) -> np.ndarray:
    """Each row's split ([N] of `train`, `val`, `test`): the one place that decides it.

    `fold: none` uses the table's column; any other value tests on that session and takes 10% of the other
    dialogues, at least one, as val, by seed. `field` is the params field to name in messages.

    Raises:
        UserError: the fold names no session, or leaves nothing to train on.
    """
    if fold == "none":
        return labels["split"].to_numpy(dtype=str)
    session = {u.dialogue: u.session for u in utterances}
    known = sorted(set(session.values()) - {""})
    if str(fold) not in known:
        raise UserError(f"{field}={fold}: no such session; {UTTERANCES} has {', '.join(known) or 'none'}")
    rest = [d for d, s in session.items() if s != str(fold)]
    if len(rest) < 2:
        raise UserError(f"{field}={fold}: fewer than two dialogues are left to train and select on")
    count = max(1, math.floor(len(rest) * FOLD_VAL_SHARE + 0.5))
    chosen = set(np.random.default_rng(seed).permutation(np.array(rest, dtype=object))[:count])
    part = {d: "test" if s == str(fold) else "val" if d in chosen else "train" for d, s in session.items()}
    return np.array([part[u.dialogue] for u in utterances])
