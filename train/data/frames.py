"""One stream's frames: cut, normalised by dimension, ragged, in memory or on disk.

Frames are cut (`train.audio_seconds`, `train.visual_frames`), normalised by the train split's frames, and kept as
`train.frames` says, `f2` or `f4`. The numbers are the same from memory and from the cache.
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
    """One stream's frames, row i = row i of utterances.csv: `stream[i]` is [T, D], normalised; T = 0 where missing.

    Attributes:
        meta: what the cache says of itself.
        kept: [N] frames that are left of each row after the cut.
        dim: D.
        statistics: those that the frames are normalised by.
    """

    def __init__(
        self,
        cache: FeatureCache,
        kept: np.ndarray,
        train: np.ndarray,
        who: Sequence[tuple[str, str] | None] | None,
        dtype: str,
        known: Statistics | None,
    ) -> None:
        self.meta, self.kept, self.dim, self.dtype = cache.meta, kept, cache.meta.frames_dim, np.dtype(dtype)
        self._cache = cache
        self._held: np.ndarray | None = None
        self._starts = np.concatenate([[0], np.cumsum(kept)])
        every = _Moments(self.dim)
        own = {name: _Moments(self.dim) for name in set(who or ()) if name is not None}
        for i in np.flatnonzero(kept).tolist():
            if train[i] or own:
                x = self._raw(i)
                if train[i]:
                    every.add(x)
                if who is not None and (name := who[i]) is not None:
                    own[name].add(x)
        self.statistics = known or every.statistics()
        groups = {
            name: shrink(m.statistics(), m.utterances, self.statistics) for name, m in own.items() if m.frames
        }
        self._by_row = (
            None
            if who is None
            else [groups.get(name, self.statistics) if name else self.statistics for name in who]
        )

    @property
    def nbytes(self) -> int:
        """The bytes that `hold` takes."""
        return int(self._starts[-1]) * self.dim * self.dtype.itemsize

    def hold(self) -> None:
        """Read everything into memory, and close the file."""
        held = np.empty((int(self._starts[-1]), self.dim), self.dtype)
        for i in np.flatnonzero(self.kept).tolist():
            held[self._starts[i] : self._starts[i + 1]] = self._normalised(i)
        self._held = held
        self._cache.close()

    def __getitem__(self, i: int) -> np.ndarray:
        """Return [T, D] of row `i`, normalised."""
        if self._held is not None:
            return self._held[self._starts[i] : self._starts[i + 1]]
        return self._normalised(i)

    def _raw(self, i: int) -> np.ndarray:
        return self._cache.frames(i)[: self.kept[i]]

    def _normalised(self, i: int) -> np.ndarray:
        stats = self.statistics if self._by_row is None else self._by_row[i]
        # In double precision, as the statistics are: openSMILE's dimensions span nine orders of magnitude.
        x = (self._raw(i) - stats.mean) / scale(stats.mean, stats.sd)
        held: np.ndarray = x.clip(-LARGEST_F2, LARGEST_F2).astype(self.dtype)
        return held


def kept(cache: FeatureCache, modality: str, train: TrainParams) -> np.ndarray:
    """Return [N], how many frames of each row are used; a row that has any keeps one."""
    assert cache.offsets is not None
    lengths = np.diff(cache.offsets)
    if modality == "visual":
        return np.minimum(lengths, train.visual_frames)
    seconds = train.audio_seconds
    inside = [np.searchsorted(cache.times(i), seconds) if n else 0 for i, n in enumerate(lengths)]
    return np.maximum(np.array(inside, dtype=np.int64), np.minimum(lengths, 1))


class _Moments:
    """Mean and variance of rows that come in blocks (Chan, Golub and LeVeque 1979), in double precision."""

    def __init__(self, dim: int) -> None:
        self.utterances, self.frames = 0, 0
        self.mean, self.squares = np.zeros(dim), np.zeros(dim)

    def add(self, x: np.ndarray) -> None:
        """Count the frames [T, D] of an utterance, T ≥ 1."""
        mean = x.mean(0, dtype=np.float64)
        squares = ((x - mean) ** 2).sum(0)
        total, shift = self.frames + len(x), mean - self.mean
        self.squares += squares + shift**2 * self.frames * len(x) / total
        self.mean += shift * len(x) / total
        self.frames, self.utterances = total, self.utterances + 1

    def statistics(self) -> Statistics:
        return Statistics(self.mean, np.sqrt(self.squares / max(1, self.frames)))
