"""Statistics of features, and normalisation by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from train.data.corpus import Statistics

SHRINK = 10.0  # a speaker's statistics over n utterances are (n · own + SHRINK · global) / (n + SHRINK)
TINY_SD = 1e-6
COLUMNS, ROWS = 64, 4096  # blocks, so that no copy of a whole stream in double precision is made


def statistics(x: np.ndarray, rows: np.ndarray) -> Statistics:
    """Return mean and standard deviation, both [D], of some rows of features.

    Args:
        x: [N, D] features.
        rows: [N] bool, or row numbers.
    """
    # In double precision, because openSMILE's dimensions span nine orders of magnitude. In blocks of columns, because
    # a copy of all columns in double precision is five times the features. Never one column alone, because NumPy
    # then sums in another order.
    count = x.shape[1]
    mean, sd = np.empty(count), np.empty(count)
    for part in np.array_split(np.arange(count), -(-count // COLUMNS)):
        columns = slice(part[0], part[-1] + 1)
        some = x[rows, columns]
        mean[columns], sd[columns] = some.mean(0, dtype=np.float64), some.std(0, dtype=np.float64)
    return Statistics(mean, sd)


def normalised(
    x: np.ndarray, present: np.ndarray, stats: Statistics, speakers: Sequence[tuple[str, str] | None] | None
) -> np.ndarray:
    """Return normalised features [N, D] float32, 0 where missing.

    Args:
        x: [N, D] features.
        present: [N] bool, False where missing.
        stats: the train split's statistics.
        speakers: the speaker of each row, whose own statistics are used, shrunk towards `stats`. None uses `stats`
            for every row.
    """
    mean, sd = stats.mean[None], stats.sd[None]
    if speakers is not None:
        groups = pd.Series(range(len(x))).groupby(pd.Index(speakers)).indices
        mean, sd = np.repeat(mean, len(x), 0), np.repeat(sd, len(x), 0)
        for rows in groups.values():
            own = rows[present[rows]]
            if len(own):
                shrunk = shrink(statistics(x, own), len(own), stats)
                mean[rows], sd[rows] = shrunk.mean, shrunk.sd
    divisor = scale(mean, sd)
    out = np.empty(x.shape, np.float32)
    for start in range(0, len(x), ROWS):
        some = slice(start, start + ROWS)
        own_rows = some if len(mean) == len(x) else slice(None)
        out[some] = (x[some] - mean[own_rows]) / divisor[own_rows]
    out[~present] = 0.0
    return out


def shrink(own: Statistics, n: int, every: Statistics) -> Statistics:
    """Return a speaker's statistics over `n` utterances, shrunk towards those of all speakers."""
    pulled = ((n * a + SHRINK * b) / (n + SHRINK) for a, b in ((own.mean, every.mean), (own.sd, every.sd)))
    return Statistics(*pulled)


def scale(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the divisor [..., D]: the standard deviation, or infinity for a dimension that is constant in training.

    The standard deviation of a constant dimension is rounding noise: tiny compared with its mean, or with the other
    dimensions of the stream (1e-33 in MiniLM). The comparison does not depend on the unit.
    """
    usual = np.median(sd, axis=-1, keepdims=True).clip(max=1.0)
    return np.where(sd > TINY_SD * np.maximum(usual, np.abs(mean)), sd, np.inf)
