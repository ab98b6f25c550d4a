"""Test whether two experiments differ, by a paired bootstrap over their common test dialogues."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evaluate.run.metrics import resampled
from pipeline.errors import UserError

RESAMPLES = 10_000
FEWEST = 10


def paired_bootstrap(a: pd.DataFrame, b: pd.DataFrame, resamples: int = RESAMPLES) -> float:
    """Return the two-sided p of "no difference" in weighted F1 (mean over seeds), resampling whole dialogues.

    With fewer than `FEWEST` dialogues it is NaN: so few dialogues hardly vary when resampled, and p would be too low
    when nothing differs (below .05 in a fifth of all draws with five dialogues, always with one).

    Args:
        a: predictions.csv of one experiment: utterance, split, dialogue, emotion, and a column `seedN` per seed with
            the predicted label.
        b: predictions.csv of the other experiment.
        resamples: how many resamples to draw.

    Raises:
        UserError: the experiments scored different test utterances.
    """
    parts = [
        frame[(frame["split"] == "test") & (frame["emotion"] != "")].reset_index(drop=True)
        for frame in (a, b)
    ]
    if not parts[0][["utterance", "emotion"]].equals(parts[1][["utterance", "emotion"]]):
        raise UserError(
            "the two experiments were not scored on the same test utterances and labels; "
            "compare runs of one corpus and fold"
        )
    place, dialogues = pd.factorize(parts[0]["dialogue"])
    if len(dialogues) < FEWEST:
        return np.nan
    answers = [[part[column] for column in part if is_seed(column)] for part in parts]
    labels = pd.Index(pd.concat([parts[0]["emotion"], *answers[0], *answers[1]]).unique())
    truth = labels.get_indexer(parts[0]["emotion"])
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(dialogues), np.full(len(dialogues), 1 / len(dialogues)), resamples)
    scores = []
    for columns in answers:
        seeds = [
            resampled(weights, place, truth, labels.get_indexer(column))["weighted_f1"] for column in columns
        ]
        scores.append(np.mean(seeds, axis=0))
    difference = scores[0] - scores[1]
    # +1, because the observed data are one of the possible resamples: p is never 0.
    below, above = ((difference <= 0).sum() + 1, (difference >= 0).sum() + 1)
    return float(min(1.0, 2 * min(below, above) / (resamples + 1)))


def is_seed(column: str) -> bool:
    """Return whether a column of predictions.csv holds one seed's predictions."""
    return column.startswith("seed") and column[4:].isdigit()
