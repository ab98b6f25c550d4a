"""What of a run a page shows, so that it stays below ten megabytes: labels, turns, probabilities.

All of it is in details.json and predictions.csv; the page says what it leaves out.
"""

from __future__ import annotations

import numpy as np
from markupsafe import escape

from evaluate.page import TOP
from evaluate.run.metrics import MATRIX
from evaluate.run.results import Run

TURNS_BYTES = 4_500_000  # attention, which `load` bounds, takes as much again at most
TURN_BYTES, SHARE_BYTES, NUMBER_BYTES = (
    1100,
    30,
    4,
)  # of a turn's markup, a part of its bar, a stored probability


def labels(run: Run) -> list[int]:
    """The label numbers that tables and menus list: all, or of too many the MATRIX most frequent of the test split."""
    count = len(run.names)
    if count <= MATRIX:
        return list(range(count))
    support = np.bincount(run.truth[(run.splits == "test") & (run.truth >= 0)], minlength=count)
    return sorted(np.argsort(-support, kind="stable")[:MATRIX].tolist())


def turns(run: Run) -> list[list[int]]:
    """The row numbers of the test dialogues, in order, as far as they fit; the last one may be cut."""
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
    """About what a turn adds to the page."""
    utterance = run.utterances[row]
    words = sum(len(escape(word).encode()) for word in (utterance.text, utterance.speaker, utterance.speaker))
    names = 4 * len(escape(utterance.utterance).encode()) + len(escape(utterance.dialogue).encode())
    parts = min(TOP, len(run.names))
    return TURN_BYTES + words + names + parts * (SHARE_BYTES + NUMBER_BYTES * (1 + len(run.first.without)))
