"""Whether two experiments differ: a paired bootstrap over the dialogues that both were tested on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evaluate.run.metrics import resampled
from pipeline.errors import UserError

RESAMPLES = 10_000
FEWEST = 10


def paired_bootstrap(a: pd.DataFrame, b: pd.DataFrame, resamples: int = RESAMPLES) -> float:
    """Two-sided p of "no difference" in mean weighted F1 over seeds, whole dialogues resampled.

    NaN with fewer than `FEWEST` dialogues: so few hardly vary when resampled, and p would be low where nothing differs
    (under .05 in a fifth of all draws with five dialogues, always with one).

    Args:
        a, b: predictions.csv of two experiments: utterance, split, dialogue, emotion, and a column `seedN` with the
            predicted label per seed.

    Raises:
        UserError: the two did not score the same test utterances.
    """
    parts = [
        frame[(frame["split"] == "test") & (frame["emotion"] != "")].reset_index(drop=True)
        for frame in (a, b)
    ]
    if not parts[0][["utterance", "emotion"]].equals(parts[1][["utterance", "emotion"]]):
        raise UserError("the two experiments were not scored on the same test utterances and labels")
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
    # +1: the observed data are one of the possible resamples, so that p is never 0.
    below, above = ((difference <= 0).sum() + 1, (difference >= 0).sum() + 1)
    return float(min(1.0, 2 * min(below, above) / (resamples + 1)))


def is_seed(column: str) -> bool:
    return column.startswith("seed") and column[4:].isdigit()
