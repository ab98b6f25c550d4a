"""Caches' frames and labels → utterances, bucketed by length and padded to their own batch's longest.

Frames are cut (`train.audio_seconds`, `train.visual_frames`), normalised per dimension by the train split's frames,
and kept ragged in memory as `train.frames` says, `f2` or `f4`; nothing is padded but the batch at hand. A set
larger than EMOFUSE_FRAMES_SHARE of the memory (half of it by default) stays in its HDF5 files and is read a batch
at a time: the numbers are the same, only slower to come by.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.params import FEATURES, MODALITIES, Params, TrainParams
from pipeline.tables.schema import Utterance
from train.data.admit import admit
from train.data.corpus import Corpus, Statistics, something_left, speakers, tables, unlabelled
from train.data.normalise import scale, shrink
from train.data.order import batches, bucketed
from train.models.contract import FrameBatch

POOL = 16  # batches' worth of draws that are sorted by length together
SHARE = 0.5
# What a machine has, and what a container or a job on it may take.
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
LARGEST_F2 = float(np.finfo(np.float16).max)


class Frames:
    """One stream's frames, row i = row i of utterances.csv: `stream[i]` is [T, D], normalised; T = 0 where missing.

    Attributes:
        kept: [N] frames that are left of each row after the cut.
        statistics: of the train split's frames.
    """

    def __init__(
        self,
        cache: FeatureCache,
        kept: np.ndarray,
        train: np.ndarray,
        who: list | None,
        dtype: str,
        known: Statistics | None,
    ) -> None:
        self.kept, self.dim, self.dtype = kept, cache.meta.frames_dim, np.dtype(dtype)
        self._cache = cache
        self._held: np.ndarray | None = None
        self._starts = np.concatenate([[0], np.cumsum(kept)])
        every = _Moments(self.dim)
        own = {name: _Moments(self.dim) for name in sorted(set(who or []) - {None})}
        for i in np.flatnonzero(kept).tolist():
            if train[i] or own:
                x = self._raw(i)
                if train[i]:
                    every.add(x)
                if who is not None and who[i] is not None:
                    own[who[i]].add(x)
        self.statistics = known or every.statistics()
        groups = {
            name: shrink(m.statistics(), m.utterances, self.statistics) for name, m in own.items() if m.frames
        }
        self._by_row = [groups.get(name, self.statistics) for name in who] if who is not None else None

    @property
    def nbytes(self) -> int:
        """What `hold` would take."""
        return int(self._starts[-1]) * self.dim * self.dtype.itemsize

    def hold(self) -> None:
        """Read everything into memory, and close the file."""
        held = np.empty((int(self._starts[-1]), self.dim), self.dtype)
        for i in np.flatnonzero(self.kept).tolist():
            held[self._starts[i] : self._starts[i + 1]] = self._normalised(i)
        self._held = held
        self._cache.close()

    def __getitem__(self, i: int) -> np.ndarray:
        if self._held is not None:
            return self._held[self._starts[i] : self._starts[i + 1]]
        return self._normalised(i)

    def _raw(self, i: int) -> np.ndarray:
        return self._cache.frames(i)[: self.kept[i]]

    def _normalised(self, i: int) -> np.ndarray:
        stats = self.statistics if self._by_row is None else self._by_row[i]
        # In double precision, as the statistics are: openSMILE's dimensions span nine orders of magnitude.
        x = (self._raw(i) - stats.mean) / scale(stats.mean, stats.sd)
        return x.clip(-LARGEST_F2, LARGEST_F2).astype(self.dtype)


@dataclass(frozen=True, kw_only=True)
class FrameDataset(Corpus):
    """Utterances with the frames of each modality in use: modality → its stream."""

    kind = "utterances"

    frames: dict[str, Frames] = field(default_factory=dict)

    @property
    def dims(self) -> dict[str, int]:
        return {modality: stream.dim for modality, stream in self.frames.items()}

    def units(self, split: str | None = None) -> list[int]:
        """Row numbers."""
        return [i for i, part in enumerate(self.split) if split in (None, part)]

    def rows(self, unit: int) -> slice:
        return slice(unit, unit + 1)

    def name(self, unit: int) -> str:
        return self.utterances[unit].utterance

    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """By length, so that little is padded. With a generator as many are drawn as there are, with replacement,
        every emotion equally likely (weights of 1 / its count, as published).
        """
        lengths = np.sum([stream.kept for stream in self.frames.values()], axis=0)
        if generator is None:
            yield from batches(sorted(chosen, key=lambda i: lengths[i]), size)
            return
        labels = self.labels[list(chosen)]
        drawn = torch.multinomial(balanced(labels), len(chosen), replacement=True, generator=generator)
        yield from bucketed([chosen[i] for i in drawn.tolist()], lengths, size, POOL, generator)

    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> FrameBatch:
        """The given rows, each modality padded to its own longest, at least one frame."""
        features, present = {}, {}
        for modality, stream in self.frames.items():
            kept = torch.from_numpy(stream.kept[list(chosen)])
            longest = max(1, int(kept.max()))
            x = torch.zeros(len(chosen), longest, stream.dim)
            for b, i in enumerate(chosen):
                x[b, : kept[b]] = torch.from_numpy(stream[i])
            features[modality] = x.to(device)
            present[modality] = (torch.arange(longest) < kept[:, None]).to(device)
        rows = torch.tensor(list(chosen))
        return FrameBatch(features, present, self.labels[rows].to(device), rows)


def balanced(labels: torch.Tensor) -> torch.Tensor:
    """[n] labels ≥ 0 -> [n] sampling weights, 1 / the count of each one's emotion."""
    return 1 / torch.bincount(labels)[labels].float()


def load(params: Params, reads: Sequence[str] = MODALITIES) -> FrameDataset:
    """Read tables and caches as params name them; streams of modalities outside `reads` are left out.

    Raises:
        UserError: a table or cache is damaged, they do not belong together, or a stream has no frames.
    """
    data = FrameDataset(**tables(params.corpus.labels, params.train.fold, params.train.seed))
    for modality, name in params.train.streams.in_use().items():
        if modality in reads:
            _add_stream(data, modality, FEATURES / f"{name}.h5", params.train)
        else:
            data.dropped[modality] = f"{params.model.name} reads {' and '.join(reads)} alone"
    something_left(data)
    total, most = sum(stream.nbytes for stream in data.frames.values()), _share() * _memory()
    if total <= most:
        for stream in data.frames.values():
            stream.hold()
    else:
        print(
            f"train: {total / 1e9:.1f} GB of frames stay on disk (EMOFUSE_FRAMES_SHARE allows {most / 1e9:.1f})"
        )
    return data


def load_unlabelled(
    utterances: list[Utterance],
    label_names: list[str],
    caches: Mapping[str, Path],
    statistics: Mapping[str, Statistics],
    train: TrainParams,
) -> FrameDataset:
    """New recordings for a trained model, as `dialogues.load_unlabelled`; they are read once, from disk.

    Raises:
        UserError: a cache is damaged, or not of these utterances.
    """
    data = FrameDataset(**unlabelled(utterances, label_names))
    for modality, path in caches.items():
        _add_stream(data, modality, path, train, statistics[modality])
    return data


def _add_stream(
    data: FrameDataset, modality: str, path: Path, train: TrainParams, known: Statistics | None = None
) -> None:
    cache = FeatureCache(path)
    stream = cache.meta.stream
    if cache.offsets is None:
        raise UserError(
            f"train.streams.{modality}={stream}: {path} holds no frames, which the model reads; "
            f"set extract.{stream}.frames to f2, or import it once more with --frames f2"
        )
    if not admit(data, modality, cache, known is not None):
        cache.close()
        return
    who = speakers(data) if train.normalise == "speaker" else None
    data.frames[modality] = Frames(
        cache, kept(cache, modality, train), data.split == "train", who, train.frames, known
    )
    data.statistics[modality] = data.frames[modality].statistics


def kept(cache: FeatureCache, modality: str, train: TrainParams) -> np.ndarray:
    """[N] how many frames of each row are used; a row that has any keeps one."""
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
        """[T, D], T ≥ 1."""
        mean = x.mean(0, dtype=np.float64)
        squares = ((x - mean) ** 2).sum(0)
        total, shift = self.frames + len(x), mean - self.mean
        self.squares += squares + shift**2 * self.frames * len(x) / total
        self.mean += shift * len(x) / total
        self.frames, self.utterances = total, self.utterances + 1

    def statistics(self) -> Statistics:
        return Statistics(self.mean, np.sqrt(self.squares / max(1, self.frames)))


def _share() -> float:
    text = os.environ.get("EMOFUSE_FRAMES_SHARE", str(SHARE))
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(f"EMOFUSE_FRAMES_SHARE={text}: expected a share of the memory, from 0 to 1")
    return share


def _memory() -> int:
    """Bytes of memory this process may hope for."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    texts = [path.read_text().strip() for path in map(Path, CGROUP_LIMITS) if path.exists()]
    return min([physical, *(int(text) for text in texts if text.isdigit())])
