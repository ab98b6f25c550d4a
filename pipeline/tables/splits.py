"""Assign dialogues to train, val and test; no other module decides this."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

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
    """Return each row's split, [N] of `train`, `val`, `test`.

    Args:
        labels: the table of labels.
        utterances: the table of utterances, in the same order.
        fold: `none`: use the table's column. Otherwise the session for test; of the other dialogues, a random 10% and
            at least one are val.
        seed: of the random choice of val.
        field: the params field to name in messages.

    Raises:
        UserError: if the fold is not a session, or leaves fewer than two dialogues for train and val.
    """
    if fold == "none":
        column: np.ndarray = labels["split"].to_numpy(dtype=str)
        return column
    session = {u.dialogue: u.session for u in utterances}
    known = sorted(set(session.values()) - {""})
    if str(fold) not in known:
        raise UserError(
            f"{field}={fold}: no such session; choose one of {UTTERANCES}: {', '.join(known) or 'none'}"
        )
    rest = [d for d, s in session.items() if s != str(fold)]
    if len(rest) < 2:
        raise UserError(
            f"{field}={fold}: fewer than two dialogues are left for train and val; choose another session"
        )
    count = max(1, math.floor(len(rest) * FOLD_VAL_SHARE + 0.5))
    chosen = set(np.random.default_rng(seed).permutation(np.array(rest, dtype=object))[:count])
    part = {d: "test" if s == str(fold) else "val" if d in chosen else "train" for d, s in session.items()}
    return np.array([part[u.dialogue] for u in utterances])


def ids_hash(utterances: Iterable[str]) -> str:
    """Return the sha256 (hex) of the sorted utterance ids."""
    return hashlib.sha256("\n".join(sorted(utterances)).encode()).hexdigest()
