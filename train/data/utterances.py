"""Caches and labels → single utterances with their frames, bucketed by length and padded to their batch's longest.

Nothing is padded but the batch at hand. What does not fit in memory stays in its HDF5 files and is read a batch at a
time: the numbers are the same, only slower to come by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.params import TrainParams
from train.data.admit import Known, admitted
from train.data.corpus import Corpus
from train.data.frames import Frames, kept
from train.data.labelled import Labelled
from train.data.memory import hold_what_fits
from train.data.order import batches, bucketed
from train.models.contract import FrameBatch

POOL = 16  # batches' worth of draws that are sorted by length together


@dataclass(frozen=True)
class Utterances(Corpus):
    """Single utterances with their frames."""

    streams: Mapping[str, Frames]

    kind = "utterances"

    @property
    def frames(self) -> Mapping[str, Frames]:
        """{modality in use: its frames}."""
        return self.streams

    def units(self, split: str | None = None) -> list[int]:
        """Return row numbers."""
        return [i for i, part in enumerate(self.split) if split in (None, part)]

    def rows(self, unit: int) -> slice:
        """Return the one row."""
        return slice(unit, unit + 1)

    def name(self, unit: int) -> str:
        """Return the utterance's id."""
        return self.utterances[unit].utterance

    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Yield utterances of like length together, so that little is padded.

        With a generator as many are drawn as there are, with replacement, every emotion equally likely (weights of
        1 / its count, as published).
        """
        lengths = np.sum([stream.kept for stream in self.frames.values()], axis=0)
        if generator is None:
            yield from batches(sorted(chosen, key=lambda i: lengths[i]), size)
            return
        labels = self.labels[list(chosen)]
        drawn = torch.multinomial(balanced(labels), len(chosen), replacement=True, generator=generator)
        yield from bucketed([chosen[i] for i in drawn.tolist()], lengths, size, POOL, generator)

    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> FrameBatch:
        """Return the given rows, each modality padded to its own longest, at least one frame."""
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
    """Return for labels [n] ≥ 0 the sampling weights [n], 1 / the count of each one's emotion."""
    return 1 / torch.bincount(labels)[labels].float()


def load(
    data: Labelled,
    caches: Mapping[str, Path],
    train: TrainParams,
    left_out: Mapping[str, str],
    known: Known = None,
) -> Utterances:
    """Read the frames of `caches`; arguments as `dialogues.load` takes them.

    Raises:
        UserError: a cache is damaged, has no frames or may not be used, or none is left.
    """
    who = data.speakers() if train.normalise == "speaker" else None

    def framed(modality: str, cache: FeatureCache) -> Frames:
        stream = cache.meta.stream
        if cache.offsets is None:
            raise UserError(
                f"train.streams.{modality}={stream}: {cache.path} holds no frames, which the model reads; "
                f"set extract.{stream}.frames to f2, or import it once more with --frames f2"
            )
        own = known[modality] if known is not None else None
        return Frames(cache, kept(cache, modality, train), data.split == "train", who, train.frames, own)

    streams, dropped = admitted(data, caches, left_out, known, framed)
    hold_what_fits(streams.values())
    return Utterances(data, streams, dropped)
