"""Caches and labels → pooled features in memory → padded batches of whole dialogues.

Pooled features fit in memory (MELD's three caches are 446 MB), so an epoch never touches a disk. They are
normalised once; a missing feature is a zero that `present` marks. train/data/utterances.py does the same for frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pipeline.features import FeatureCache
from pipeline.params import TrainParams
from pipeline.tables.schema import dialogues, parties
from train.data.admit import Known, admitted
from train.data.corpus import Corpus, Statistics
from train.data.labelled import Labelled
from train.data.normalise import normalised, statistics
from train.data.order import batches
from train.models.contract import Batch

if TYPE_CHECKING:
    from pipeline.features import Meta


@dataclass(frozen=True)
class Pooled:
    """One stream's vectors.

    Attributes:
        meta: what the cache says of itself.
        statistics: those that the features are normalised by.
        features: [N, D] f4, normalised, 0 where missing.
        present: [N] bool.
    """

    meta: Meta
    statistics: Statistics
    features: Tensor
    present: Tensor

    @property
    def dim(self) -> int:
        """D."""
        return self.features.shape[1]


@dataclass(frozen=True)
class Dialogues(Corpus):
    """Whole dialogues of pooled features."""

    streams: Mapping[str, Pooled]

    kind = "dialogues"

    @cached_property
    def turns(self) -> list[tuple[int, int]]:
        """For each dialogue the half-open range of its rows."""
        stops = np.cumsum([len(d) for d in dialogues(self.utterances)]).tolist()
        return list(zip([0, *stops[:-1]], stops, strict=True))

    @cached_property
    def speakers(self) -> Tensor:
        """[N] long, the party's number in its dialogue."""
        return torch.tensor([p for d in dialogues(self.utterances) for p in parties(d)])

    @property
    def features(self) -> dict[str, Tensor]:
        """{modality in use: [N, D] f4, normalised, 0 where missing}."""
        return {modality: stream.features for modality, stream in self.streams.items()}

    @property
    def present(self) -> dict[str, Tensor]:
        """{modality in use: [N] bool}."""
        return {modality: stream.present for modality, stream in self.streams.items()}

    def units(self, split: str | None = None) -> list[int]:
        """Return positions in `turns`."""
        return [d for d, (start, _) in enumerate(self.turns) if split in (None, self.split[start])]

    def rows(self, unit: int) -> slice:
        """Return the rows of a dialogue."""
        return slice(*self.turns[unit])

    def name(self, unit: int) -> str:
        """Return the dialogue's name."""
        return self.utterances[self.turns[unit][0]].dialogue

    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Yield dialogues shuffled by `generator`, or in order without one."""
        return batches(chosen, size, generator)

    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """Return the given dialogues, padded at the end to the longest of them."""
        spans = [self.turns[d] for d in chosen]
        lengths = torch.tensor([stop - start for start, stop in spans])
        rows = torch.cat([torch.arange(start, stop) for start, stop in spans])
        real = torch.arange(int(lengths.max()))[None] < lengths[:, None]

        def pad(x: Tensor) -> Tensor:
            out = x.new_zeros(*real.shape, *x.shape[1:])
            out[real] = x[rows]
            return out.to(device)

        return Batch(
            features={m: pad(x) for m, x in self.features.items()},
            present={m: pad(x) for m, x in self.present.items()},
            speakers=pad(self.speakers),
            lengths=lengths,
            labels=self.labels[rows].to(device),
            indices=rows,
        )


def load(
    data: Labelled,
    caches: Mapping[str, Path],
    train: TrainParams,
    left_out: Mapping[str, str],
    known: Known = None,
) -> Dialogues:
    """Read the pooled features of `caches`.

    Args:
        caches: modality → the stream's file.
        left_out: modality → why the model does not read it.
        known: modality → the statistics of a trained model; None: those of the train split.

    Raises:
        UserError: a cache is damaged or may not be used, or none is left.
    """
    speaker = data.speakers() if train.normalise == "speaker" else None

    def pooled(modality: str, cache: FeatureCache) -> Pooled:
        with cache:
            x, present = cache.pooled(), cache.status == 0
        stats = known[modality] if known is not None else statistics(x, present & (data.split == "train"))
        values = torch.from_numpy(normalised(x, present, stats, speaker))
        return Pooled(cache.meta, stats, values, torch.from_numpy(present))

    return Dialogues(data, *admitted(data, caches, left_out, known, pooled))
