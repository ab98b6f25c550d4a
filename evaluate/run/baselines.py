"""Score the simplest model on test: the most frequent label of the train split for every utterance."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluate.run import metrics
from evaluate.run.results import Run


def majority(run: Run) -> dict[str, Any] | None:
    """Return the train split's most frequent label and its scores on test; None if one of the splits has no labels."""
    train, test = (np.flatnonzero((run.splits == split) & (run.truth >= 0)) for split in ("train", "test"))
    if not len(train) or not len(test):
        return None
    label = int(np.bincount(run.truth[train]).argmax())
    predicted = np.full(len(test), label)
    return {
        "label": run.names[label],
        **metrics.scores(run.truth[test], predicted, len(run.names)),
    }
