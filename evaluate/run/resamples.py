"""Bootstrap intervals over whole dialogues, for scores that are functions of sums over utterances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

SEED = 0
ENDS = (0.025, 0.975)


def draw(dialogue: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw resamples of whole dialogues, because turns of one dialogue are not independent.

    Args:
        dialogue: `[n]` identifiers of the dialogues.
        count: how many resamples to draw.

    Returns:
        `[R, D]`, how often each dialogue occurs in each resample, and `[n]`, the dialogue number of each row; None for
        fewer than two dialogues.
    """
    _, place = np.unique(dialogue, return_inverse=True)
    dialogues = int(place.max()) + 1
    if dialogues < 2:
        return None
    rng = np.random.default_rng(SEED)
    return rng.multinomial(dialogues, np.full(dialogues, 1 / dialogues), size=count), place


def intervals(
    sums: Sequence[np.ndarray],
    dialogue: np.ndarray,
    count: int,
    scores: Callable[[np.ndarray], Mapping[str, np.ndarray]],
) -> dict[str, tuple[float, float]] | None:
    """Return 95% percentile bootstrap intervals of each score, averaged over the seeds.

    Args:
        sums: one array `[n, Q]` per seed, what each utterance adds to Q sums.
        dialogue: `[n]` identifiers of the dialogues.
        count: how many resamples to draw.
        scores: returns {score: `[R]`} for sums `[R, Q]`.

    Returns:
        {score: (low, high)}, or None for fewer than two dialogues.
    """
    drawn = draw(dialogue, count)
    if drawn is None:
        return None
    often, place = drawn
    found = []
    for one in sums:
        whole = np.zeros((often.shape[1], one.shape[1]))
        np.add.at(whole, place, one)
        found.append(scores(often @ whole))
    return percentiles(found)


def percentiles(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, tuple[float, float]]:
    """Return {score: (low, high)}, the 95% percentile intervals of the mean over the seeds.

    Resamples in which a score is undefined (NaN) are left out. A score that is undefined in all has no interval.

    Args:
        seeds: {score: `[R]`, its value in each resample} of each seed.
    """
    means = {name: np.mean([one[name] for one in seeds], axis=0) for name in seeds[0]}
    ends = {name: np.quantile(x[~np.isnan(x)], ENDS) for name, x in means.items() if not np.isnan(x).all()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
