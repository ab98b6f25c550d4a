"""Assign dialogues to train, val and test; no other module decides this."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.errors import UserError
from pipeline.messages import listed
from pipeline.params import Val
from pipeline.tables.schema import UTTERANCES, Utterance

VAL_SHARE = 0.1  # of the dialogues outside test


def splits(
    labels: pd.DataFrame,
    utterances: Sequence[Utterance],
    fold: str | int,
    seed: int,
    val: Val = "any",
    field: str = "train.fold",
) -> np.ndarray:
    """Return each row's split, [N] of `train`, `val`, `test`.

    Args:
        labels: the table of labels.
        utterances: the table of utterances, in the same order.
        fold: `none`: test is the table's. Otherwise the session for test.
        seed: of the random choice of val.
        val: `any`: val is the table's; with a fold, a random 10% of the dialogues outside test and at least one.
            `speaker`: see `_unheard`.
        field: the params field of the fold, to name in messages.

    Raises:
        UserError: the fold is not a session, fewer than two dialogues are left for train and val, or val cannot be
            drawn.
    """
    column: np.ndarray = labels["split"].to_numpy(dtype=str)
    if fold == "none" and val == "any":
        return column
    session = {u.dialogue: u.session for u in utterances}
    if fold == "none":
        test = {u.dialogue for u, split in zip(utterances, column, strict=True) if split == "test"}
    else:
        known = sorted(set(session.values()) - {""})
        if str(fold) not in known:
            raise UserError(
                f"{field}={fold}: no such session; choose one of {UTTERANCES}: {listed(known) or 'none'}"
            )
        test = {dialogue for dialogue, there in session.items() if there == str(fold)}
    rest = [dialogue for dialogue in session if dialogue not in test]
    if len(rest) < 2:
        raise UserError(
            f"{field}={fold}: fewer than two dialogues are left for train and val; choose another session"
        )
    count = max(1, math.floor(len(rest) * VAL_SHARE + 0.5))
    rng = np.random.default_rng(seed)
    if val == "speaker":
        chosen = _unheard([u for u in utterances if u.dialogue not in test], count, rng)
    else:
        chosen = set(rng.permutation(np.array(rest, dtype=object))[:count])
    part = {d: "test" if d in test else "val" if d in chosen else "train" for d in session}
    return np.array([part[u.dialogue] for u in utterances])


def _unheard(utterances: Sequence[Utterance], count: int, rng: np.random.Generator) -> set[str]:
    """Return at least `count` dialogues, where possible, whose speakers do not speak in the other dialogues.

    Dialogues that share a speaker, directly or through other dialogues, stay together. A speaker is a name within a
    session. A group of more than half of the dialogues is never chosen.

    Raises:
        UserError: an utterance has no speaker, or every group is too large.
    """
    unnamed = next((u for u in utterances if not u.speaker), None)
    if unnamed is not None:
        raise UserError(
            f"{UTTERANCES}: utterance {unnamed.utterance!r} has no speaker, which `val: speaker` needs; name the "
            "speaker, or set `val: any`"
        )
    places, dialogues = pd.factorize(np.array([u.dialogue for u in utterances], dtype=object))
    people, speakers = pd.MultiIndex.from_tuples([(u.session, u.speaker) for u in utterances]).factorize()
    size = len(dialogues) + len(speakers)
    edges = coo_array((np.ones(len(places)), (places, len(dialogues) + people)), shape=(size, size))
    group = connected_components(edges, directed=False)[1][: len(dialogues)]
    sizes = np.bincount(group)
    chosen: list[int] = []
    for one in rng.permutation(np.flatnonzero(2 * sizes <= len(dialogues))):
        if sizes[chosen].sum() < count:
            chosen.append(int(one))
    if not chosen:
        raise UserError(
            f"{UTTERANCES}: {sizes.max()} of the {len(dialogues)} dialogues outside test share speakers, so val "
            "cannot have speakers of its own; set `val: any`"
        )
    return set(dialogues[np.isin(group, chosen)])


def parts(dialogues: Iterable[str], count: int, seed: int) -> list[list[str]]:
    """Return the dialogues in `count` parts, dealt in random order; their sizes differ by at most one.

    Args:
        dialogues: ids of dialogues, at least `count` different ones.
        count: the number of parts.
        seed: of the order.
    """
    order = np.random.default_rng(seed).permutation(np.array(sorted(set(dialogues)), dtype=object))
    return [sorted(order[k::count]) for k in range(count)]


def ids_hash(utterances: Iterable[str]) -> str:
    """Return the sha256 (hex) of the sorted utterance ids."""
    return hashlib.sha256("\n".join(sorted(utterances)).encode()).hexdigest()
