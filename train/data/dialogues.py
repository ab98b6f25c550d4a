"""Caches and labels → one dataset in memory → padded batches of whole dialogues.

Pooled features fit in memory (MELD's three caches are 446 MB), so an epoch never touches a disk. They are
normalised once; a missing feature is a zero that `present` marks. train/data/frames.py does the same for frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.features import FeatureCache
from pipeline.params import FEATURES, MODALITIES, Params, TrainParams
from pipeline.tables.schema import (
    Utterance,
    dialogues,
    parties,
)
from train.data.admit import admit
from train.data.corpus import Corpus, Statistics, something_left, speakers, tables, unlabelled
from train.data.normalise import normalised, statistics
from train.data.order import batches
from train.models.contract import Batch


@dataclass(frozen=True, kw_only=True)
class Dataset(Corpus):
    """Whole dialogues of pooled features.

    Attributes:
        features: modality → [N, D] f4, normalised, 0 where missing.
        present: modality → [N] bool.
        speakers: [N] long, the party's number in its dialogue.
        turns: for each dialogue the half-open range of its rows.
    """

    kind = "dialogues"

    speakers: Tensor
    turns: list[tuple[int, int]]
    features: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)

    @property
    def dims(self) -> dict[str, int]:
        return {modality: x.shape[1] for modality, x in self.features.items()}

    def units(self, split: str | None = None) -> list[int]:
        """Positions in `turns`."""
        return [d for d, (start, _) in enumerate(self.turns) if split in (None, self.split[start])]

    def rows(self, unit: int) -> slice:
        return slice(*self.turns[unit])

    def name(self, unit: int) -> str:
        return self.utterances[self.turns[unit][0]].dialogue

    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Shuffled by `generator`, or in order without one."""
        return batches(chosen, size, generator)

    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """The given dialogues, padded at the end to the longest of them."""
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


def load(params: Params, reads: Sequence[str] = MODALITIES) -> Dataset:
    """Read tables and caches as params name them; streams of modalities outside `reads` are left out.

    Raises:
        UserError: a table or cache is damaged, or they do not belong together.
    """
    data = _without_features(**tables(params.corpus.labels, params.train.fold, params.train.seed))
    for modality, name in params.train.streams.in_use().items():
        if modality in reads:
            _add_stream(data, modality, FEATURES / f"{name}.h5", params.train.normalise)
        else:
            data.dropped[modality] = f"{params.model.name} reads {' and '.join(reads)} alone"
    something_left(data)
    return data


def load_unlabelled(
    utterances: list[Utterance],
    label_names: list[str],
    caches: Mapping[str, Path],
    statistics: Mapping[str, Statistics],
    train: TrainParams,
) -> Dataset:
    """New recordings for a trained model: nothing is labelled, all of it is `test`.

    Args:
        caches: modality → the stream's file.
        statistics: modality → the model's own, from its train split.

    Raises:
        UserError: a cache is damaged, or not of these utterances.
    """
    data = _without_features(**unlabelled(utterances, label_names))
    for modality, path in caches.items():
        _add_stream(data, modality, path, train.normalise, statistics[modality])
    return data


def _without_features(utterances: list[Utterance], **fields: Any) -> Dataset:
    groups = list(dialogues(utterances))
    stops = np.cumsum([len(g) for g in groups]).tolist()
    return Dataset(
        utterances=utterances,
        **fields,
        speakers=torch.tensor([p for g in groups for p in parties(g)]),
        turns=list(zip([0, *stops[:-1]], stops, strict=True)),
    )


def _add_stream(
    data: Dataset, modality: str, path: Path, normalise: str, known: Statistics | None = None
) -> None:
    with FeatureCache(path) as cache:
        if not admit(data, modality, cache, known is not None):
            return
        pooled, present = cache.pooled(), cache.status == 0
    stats = known or statistics(pooled, present & (data.split == "train"))
    speaker = speakers(data) if normalise == "speaker" else None
    data.features[modality] = torch.from_numpy(normalised(pooled, present, stats, speaker))
    data.present[modality] = torch.from_numpy(present)
    data.statistics[modality] = stats
