"""Pooled features in memory, and padded batches of whole dialogues.

All pooled features are held in memory (446 MB for MELD's three caches) and normalised once. A missing feature is 0,
and `present` is False there. train/data/utterances.py does the same for frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pipeline.tables.schema import dialogues, parties
from train.data.corpus import Corpus, Statistics
from train.data.labelled import Labelled
from train.data.normalise import normalised, statistics
from train.data.order import batches
from train.models.contract import Batch

if TYPE_CHECKING:
    from pipeline.features import FeatureCache, Meta
    from pipeline.params import TrainParams


@dataclass(frozen=True)
class Pooled:
    """One stream's pooled features.

    Attributes:
        meta: the cache's metadata.
        statistics: the statistics that normalise the features.
        features: [N, D] float32, normalised, 0 where missing.
        present: [N] bool, False where missing.
    """

    meta: Meta
    statistics: Statistics
    features: Tensor
    present: Tensor

    @property
    def dim(self) -> int:
        """The size of a feature, D."""
        return self.features.shape[1]

    def available(self) -> np.ndarray:
        """Return whether each utterance has the feature, [N] bool."""
        found: np.ndarray = self.present.numpy()
        return found

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the normalised features of `rows`, [n, D] f8."""
        found: np.ndarray = self.features[torch.from_numpy(rows)].double().numpy()
        return found


@dataclass(frozen=True)
class Dialogues(Corpus):
    """Whole dialogues of pooled features."""

    streams: Mapping[str, Pooled]

    kind = "dialogues"

    @override
    @classmethod
    def stream(
        cls, modality: str, cache: FeatureCache, data: Labelled, train: TrainParams, known: Statistics | None
    ) -> Pooled:
        with cache:
            x, present = cache.pooled(), cache.status == 0
        stats = known if known is not None else statistics(x, present & (data.split == "train"))
        speakers = data.speakers() if train.normalise == "speaker" else None
        values = torch.from_numpy(normalised(x, present, stats, speakers))
        return Pooled(cache.meta, stats, values, torch.from_numpy(present))

    @cached_property
    def turns(self) -> list[tuple[int, int]]:
        """The half-open range of rows of each dialogue."""
        stops = np.cumsum([len(d) for d in dialogues(self.utterances)]).tolist()
        return list(zip([0, *stops[:-1]], stops, strict=True))

    @cached_property
    def speakers(self) -> Tensor:
        """[N] long: the number of the speaker within the dialogue, by first appearance."""
        return torch.tensor([p for d in dialogues(self.utterances) for p in parties(d)])

    @property
    def features(self) -> dict[str, Tensor]:
        """Modality in use → [N, D] float32, normalised, 0 where missing."""
        return {modality: stream.features for modality, stream in self.streams.items()}

    @property
    def present(self) -> dict[str, Tensor]:
        """Modality in use → [N] bool, False where missing."""
        return {modality: stream.present for modality, stream in self.streams.items()}

    @override
    def units(self, split: str | None = None) -> list[int]:
        return [d for d, (start, _) in enumerate(self.turns) if split in (None, self.split[start])]

    @override
    def rows(self, unit: int) -> slice:
        return slice(*self.turns[unit])

    @override
    def name(self, unit: int) -> str:
        return self.utterances[self.turns[unit][0]].dialogue

    @override
    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Yield dialogues shuffled by `generator`, or in order without it."""
        return batches(chosen, size, generator)

    @override
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
