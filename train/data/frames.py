"""One stream's frames: cut, normalised per dimension, without padding, in memory or on disk.

`train.audio_seconds` and `train.visual_frames` limit the frames of an utterance. The statistics of the train split's
frames normalise them. `train.frames` chooses their type, `f2` or `f4`. Memory and disk give the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.features import FeatureCache
from pipeline.params import TrainParams
from train.data.corpus import Statistics
from train.data.normalise import scale, shrink

LARGEST_F2 = float(np.finfo(np.float16).max)


class Frames:
    """One stream's frames: `frames[i]` is [T, D] of row i of utterances.csv, normalised; T = 0 where missing.

    Args:
        cache: the open cache.
        kept: [N] number of frames to use of each row.
        train: [N] bool, True for rows of the train split.
        speakers: the speaker of each row; the speaker's own statistics normalise it. None uses the train split's
            statistics for every row.
        dtype: `f2` or `f4`.
        known: a trained model's statistics. With None they are computed on the train split.

    Attributes:
        meta: the cache's metadata.
        kept: [N] number of frames of each row after the cut.
        dim: the size of a frame, D.
        dtype: float16 or float32.
        statistics: the statistics that normalise the frames.
    """

    def __init__(
        self,
        cache: FeatureCache,
        kept: np.ndarray,
        train: np.ndarray,
        speakers: Sequence[tuple[str, str] | None] | None,
        dtype: str,
        known: Statistics | None,
    ) -> None:
        self.meta, self.kept, self.dim, self.dtype = cache.meta, kept, cache.meta.frames_dim, np.dtype(dtype)
        self._cache = cache
        self._held: np.ndarray | None = None
        self._starts = np.concatenate([[0], np.cumsum(kept)])
        every = _Moments(self.dim)
        own = {name: _Moments(self.dim) for name in set(speakers or ()) if name is not None}
        for i in np.flatnonzero(kept).tolist():
            if train[i] or own:
                x = self._raw(i)
                if train[i]:
                    every.add(x)
                if speakers is not None and (name := speakers[i]) is not None:
                    own[name].add(x)
        self.statistics = known or every.statistics()
        groups = {
            name: shrink(m.statistics(), m.utterances, self.statistics) for name, m in own.items() if m.frames
        }
        self._by_row = (
            None
            if speakers is None
            else [groups.get(name, self.statistics) if name else self.statistics for name in speakers]
        )

    @property
    def nbytes(self) -> int:
        """The size of all frames in memory, in bytes."""
        return int(self._starts[-1]) * self.dim * self.dtype.itemsize

    def hold(self) -> None:
        """Read all frames into memory and close the cache."""
        held = np.empty((int(self._starts[-1]), self.dim), self.dtype)
        for i in np.flatnonzero(self.kept).tolist():
            held[self._starts[i] : self._starts[i + 1]] = self._normalised(i)
        self._held = held
        self._cache.close()

    def __getitem__(self, i: int) -> np.ndarray:
        """Return the normalised frames [T, D] of row `i`."""
        if self._held is not None:
            return self._held[self._starts[i] : self._starts[i + 1]]
        return self._normalised(i)

    def available(self) -> np.ndarray:
        """Return whether each utterance has frames, [N] bool."""
        return self.kept > 0

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean of the normalised frames of each of `rows`, [n, D] f8; each has frames."""
        return np.stack([self[i].mean(0, dtype=np.float64) for i in rows.tolist()])

    def _raw(self, i: int) -> np.ndarray:
        return self._cache.frames(i)[: self.kept[i]]

    def _normalised(self, i: int) -> np.ndarray:
        stats = self.statistics if self._by_row is None else self._by_row[i]
        # The statistics make this double precision, because openSMILE's dimensions span nine orders of magnitude.
        x = (self._raw(i) - stats.mean) / scale(stats.mean, stats.sd)
        held: np.ndarray = x.clip(-LARGEST_F2, LARGEST_F2).astype(self.dtype)
        return held


def kept(cache: FeatureCache, modality: str, train: TrainParams) -> np.ndarray:
    """Return [N] int, the number of frames to use of each row; at least one where there are any."""
    assert cache.offsets is not None
    lengths = np.diff(cache.offsets)
    if modality == "visual":
        return np.minimum(lengths, train.visual_frames)
    seconds = train.audio_seconds
    inside = [np.searchsorted(cache.times(i), seconds) if n else 0 for i, n in enumerate(lengths)]
    return np.maximum(np.array(inside, dtype=np.int64), np.minimum(lengths, 1))


class _Moments:
    """Mean and variance over blocks of rows, in double precision (Chan, Golub and LeVeque 1979)."""

    def __init__(self, dim: int) -> None:
        self.utterances, self.frames = 0, 0
        self.mean, self.squares = np.zeros(dim), np.zeros(dim)

    def add(self, x: np.ndarray) -> None:
        """Add the frames [T, D] of an utterance, T ≥ 1."""
        mean = x.mean(0, dtype=np.float64)
        squares = ((x - mean) ** 2).sum(0)
        total, shift = self.frames + len(x), mean - self.mean
        self.squares += squares + shift**2 * self.frames * len(x) / total
        self.mean += shift * len(x) / total
        self.frames, self.utterances = total, self.utterances + 1

    def statistics(self) -> Statistics:
        """Return the mean and standard deviation of all rows so far."""
        return Statistics(self.mean, np.sqrt(self.squares / max(1, self.frames)))
