"""Mean and standard deviation of features, and features without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from train.data.corpus import Statistics

SHRINK = 10.0  # own statistics of a speaker count like this many utterances less (DESIGN: n·own + 10·global)
TINY_SD = 1e-6
COLUMNS, ROWS = 64, 4096  # worked on at a time, so that doubles of a whole stream never stand in memory


def statistics(x: np.ndarray, rows: np.ndarray) -> Statistics:
    # In double precision: openSMILE's dimensions span nine orders of magnitude. Some columns at a time, never
    # one alone (NumPy would add it up in another order): copies of all would be five times the features.
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
    """A speaker's own statistics over `n` utterances, pulled towards everybody's."""
    pulled = ((n * a + SHRINK * b) / (n + SHRINK) for a, b in ((own.mean, every.mean), (own.sd, every.sd)))
    return Statistics(*pulled)


def scale(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """What to divide by, [..., D] as given. A dimension that never varies in training carries nothing; dividing by its
    rounding noise would. Noise is what is tiny beside its mean or beside the stream's other dimensions (MiniLM has
    some of 1e-33), whatever the unit.
    """
    usual = np.median(sd, axis=-1, keepdims=True).clip(max=1.0)
    return np.where(sd > TINY_SD * np.maximum(usual, np.abs(mean)), sd, np.inf)
