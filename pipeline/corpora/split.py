"""Split dialogues into train, val and test at random, for annotation that names no split."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.corpora.raw import Row
from pipeline.errors import UserError

PARTS = 10  # one for test, one for val, the others for train


def drawn(rows: Sequence[Row], seed: int, source: str) -> list[Row]:
    """Return the rows with a split: whole dialogues, about 80% train, 10% val, 10% test, stratified by emotion.

    With fewer than ten dialogues, val and test have about one dialogue each. The same rows in any order give the same
    split.

    Args:
        rows: the utterances.
        seed: of the random choice.
        source: the file's name, for the error message.

    Raises:
        UserError: there are fewer than three dialogues.
    """
    # Importing scikit-learn takes a second, which only such a corpus needs.
    from sklearn.model_selection import StratifiedGroupKFold

    rows = sorted(rows, key=lambda row: (row.dialogue, row.order, row.utterance))
    dialogues = [row.dialogue for row in rows]
    parts = min(PARTS, len(set(dialogues)))
    if parts < 3:
        raise UserError(
            f"{source}: no split is given, and {parts} dialogues are too few for train, val and test; add the column "
            "`split`, or more dialogues"
        )
    labels = [row.emotion for row in rows]
    if max(Counter(labels).values()) < parts:
        labels = [""] * len(rows)  # too few of any label to stratify by
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A label rarer than the parts cannot be in all of them.
        warnings.simplefilter("ignore", UserWarning)
        places = [held for _, held in folds.split(np.zeros(len(rows)), labels, dialogues)]
    # Small corpora may leave a part empty. The first parts have the largest dialogues, so the seed chooses parts, too.
    filled = [place for place in places if len(place)]
    test, val = np.random.default_rng(seed).permutation(len(filled))[:2]
    split = np.full(len(rows), "train", dtype=object)
    split[filled[test]], split[filled[val]] = "test", "val"
    return [replace(row, split=name) for row, name in zip(rows, split, strict=True)]
