"""Choose the labels, turns and probabilities that the page shows, so that it stays below ten megabytes.

details.json and predictions.csv have all of them; the page states what it leaves out.
"""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
from markupsafe import escape

from evaluate.bars import TOP
from evaluate.run.metrics import MATRIX
from evaluate.run.results import Run

TURNS_BYTES = 4_500_000  # attention, bounded by `load`, takes at most as much again
# Bytes of a turn's markup, a segment of its bar, a stored probability.
TURN_BYTES, SHARE_BYTES, NUMBER_BYTES = 1100, 30, 4


def faces_file(utterance: str) -> str:
    """Return the name of the picture of an utterance's selected faces, which `python -m evaluate.faces` writes."""
    return f"{quote(utterance, safe='')}.jpg"


def labels(run: Run) -> list[int]:
    """Return the label numbers for tables and menus: at most MATRIX, the most frequent ones of the test split."""
    count = len(run.names)
    if count <= MATRIX:
        return list(range(count))
    test = run.truth[run.splits == "test"]
    support = np.bincount(test[test >= 0], minlength=count) if test.ndim == 1 else np.nansum(test, axis=0)
    return sorted(np.argsort(-support, kind="stable")[:MATRIX].tolist())


def turns(run: Run) -> list[list[int]]:
    """Return the row numbers of the first test dialogues that fit on the page; the last one may be cut."""
    left = TURNS_BYTES
    kept: list[list[int]] = []
    for rows in run.test_dialogues():
        fitting: list[int] = []
        for row in rows:
            left -= _bytes(run, row)
            if left < 0:
                return [*kept, fitting] if fitting else kept
            fitting.append(row)
        kept.append(fitting)
    return kept


def _bytes(run: Run, row: int) -> int:
    """Return roughly how many bytes a turn adds to the page."""
    utterance = run.utterances[row]
    words = sum(len(escape(word).encode()) for word in (utterance.text, utterance.speaker, utterance.speaker))
    names = 4 * len(escape(utterance.utterance).encode()) + len(escape(utterance.dialogue).encode())
    names += len(quote(utterance.played.cell))
    parts = min(TOP, len(run.names))
    return TURN_BYTES + words + names + parts * (SHARE_BYTES + NUMBER_BYTES * (1 + len(run.first.without)))
