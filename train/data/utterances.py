"""Batches of single utterances with their frames, grouped by length and padded to the longest.

Frames that do not fit in memory stay in their HDF5 files and are read for each batch. This is slower but changes no
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from typing_extensions import override

from pipeline.errors import UserError
from train.data.corpus import Corpus, Statistics
from train.data.frames import Frames, kept
from train.data.labelled import Labelled
from train.data.memory import hold_what_fits
from train.data.order import batches, bucketed
from train.models.contract import FrameBatch

if TYPE_CHECKING:
    from pipeline.features import FeatureCache
    from pipeline.params import TrainParams

POOL = 16  # the number of batches that are sorted by length together


@dataclass(frozen=True)
class Utterances(Corpus):
    """Single utterances with their frames."""

    streams: Mapping[str, Frames]

    kind = "utterances"

    def __post_init__(self) -> None:
        hold_what_fits(self.streams.values())

    @override
    @classmethod
    def stream(
        cls, modality: str, cache: FeatureCache, data: Labelled, train: TrainParams, known: Statistics | None
    ) -> Frames:
        stream = cache.meta.stream
        if cache.offsets is None:
            raise UserError(
                f"train.streams.{modality}={stream}: {cache.path} holds no frames, which the model reads; "
                f"set extract.{stream}.frames to f2, or import the file again with --frames f2"
            )
        speakers = data.speakers() if train.normalise == "speaker" else None
        return Frames(
            cache, kept(cache, modality, train), data.split == "train", speakers, train.frames, known
        )

    @property
    def frames(self) -> Mapping[str, Frames]:
        """Modality in use → its frames."""
        return self.streams

    @override
    def units(self, split: str | None = None) -> list[int]:
        return [i for i, part in enumerate(self.split) if split in (None, part)]

    @override
    def rows(self, unit: int) -> slice:
        return slice(unit, unit + 1)

    @override
    def name(self, unit: int) -> str:
        return self.utterances[unit].utterance

    @override
    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Yield groups of utterances of similar length, which keeps the padding short.

        With a generator, draw as many utterances as there are, with replacement and with the weights of the goal.
        """
        lengths = np.sum([stream.kept for stream in self.frames.values()], axis=0)
        if generator is None:
            yield from batches(sorted(chosen, key=lambda i: lengths[i]), size)
            return
        labels = self.labels[list(chosen)]
        drawn = torch.multinomial(
            self.goal.sampling(labels), len(chosen), replacement=True, generator=generator
        )
        yield from bucketed([chosen[i] for i in drawn.tolist()], lengths, size, POOL, generator)

    @override
    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> FrameBatch:
        """Return the given utterances; each modality is padded to its own longest, with at least one frame."""
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
