"""Test whether two experiments differ, by a paired bootstrap over their common test dialogues."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evaluate.experiments.answers import Answers, seeds
from pipeline.errors import UserError

RESAMPLES = 10_000
FEWEST = 10


def paired_bootstrap(a: Answers, b: Answers, resamples: int = RESAMPLES) -> float:
    """Return the two-sided p of "no difference" in the main score (mean over seeds), resampling whole dialogues.

    With fewer than `FEWEST` dialogues it is NaN: so few dialogues hardly vary when resampled, and p would be too low
    when nothing differs (below .05 in a fifth of all draws with five dialogues, always with one). Resamples in which
    the score of either experiment is undefined are left out.

    Args:
        a: the answers of one experiment.
        b: the answers of the other experiment, of the same kind.
        resamples: how many resamples to draw.

    Raises:
        UserError: the experiments scored different test utterances.
    """
    if type(a) is not type(b) or not a.truth.equals(b.truth):
        raise UserError(
            "the two experiments were not scored on the same test utterances and labels; "
            "compare runs of one corpus and fold"
        )
    place, dialogues = pd.factorize(a.table["dialogue"])
    if len(dialogues) < FEWEST:
        return np.nan
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(dialogues), np.full(len(dialogues), 1 / len(dialogues)), resamples)
    scores = [
        np.mean([answers.resampled(drawn, place, seed) for seed in seeds(answers.table)], axis=0)
        for answers in (a, b)
    ]
    difference = scores[0] - scores[1]
    difference = difference[~np.isnan(difference)]
    # +1, because the observed data are one of the possible resamples: p is never 0.
    below, above = ((difference <= 0).sum() + 1, (difference >= 0).sum() + 1)
    return float(min(1.0, 2 * min(below, above) / (len(difference) + 1)))
