"""Score the simplest model on test: the same answer for every utterance."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluate.run.measures.measure import Measure
from evaluate.run.results import Run


def majority(run: Run, measure: Measure) -> dict[str, Any] | None:
    """Return the constant answer that fits the train split and its scores on test.

    It is the most frequent label, or what `Measure.constant` says. None if one of the splits has no labels.
    """
    train, test = (np.flatnonzero((run.splits == split) & measure.known) for split in ("train", "test"))
    if not len(train) or not len(test):
        return None
    label, answer = measure.constant(train)
    answers = np.broadcast_to(answer, run.first.probabilities.shape)
    return {"label": label, **measure.scores(answers, run.first, test)}
