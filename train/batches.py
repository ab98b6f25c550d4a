"""Caches and labels → one dataset in memory → padded batches of whole dialogues.

Pooled features fit in memory (MELD's three caches are 446 MB), so an epoch never touches a disk. They are
normalised once; a missing feature is a zero that `present` marks. train/frames.py does the same for frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.features import FeatureCache, Meta
from pipeline.params import FEATURES, Params, TrainParams
from pipeline.tables import (
    UTTERANCES,
    Utterance,
    dialogues,
    parties,
)
from train.corpus import Corpus, Statistics, something_left, speakers, tables, unlabelled
from train.models import Batch

SHRINK = 10.0  # own statistics of a speaker count like this many utterances less (DESIGN: n·own + 10·global)
TINY_SD = 1e-6
COLUMNS, ROWS = 64, 4096  # worked on at a time, so that doubles of a whole stream never stand in memory


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


def load(params: Params) -> Dataset:
    """Read tables and caches as params name them.

    Raises:
        UserError: a table or cache is damaged, or they do not belong together.
    """
    data = _without_features(**tables(params.corpus.labels, params.train.fold, params.train.seed))
    for modality, name in params.train.streams.in_use().items():
        _add_stream(data, modality, FEATURES / f"{name}.h5", params.train.normalise)
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
    stats = known or _statistics(pooled, present & (data.split == "train"))
    speaker = speakers(data) if normalise == "speaker" else None
    data.features[modality] = torch.from_numpy(_normalised(pooled, present, stats, speaker))
    data.present[modality] = torch.from_numpy(present)
    data.statistics[modality] = stats


def admit(data: Corpus, modality: str, cache: FeatureCache, known: bool = False) -> bool:
    """Note a stream in `data`; False where the train split has nothing of it, so that it is dropped.

    known: whether a trained model brings its own statistics, and the split means nothing.

    Raises:
        UserError: another modality, other rows, or weights that may have seen the test split.
    """
    meta, path = cache.meta, cache.path
    if meta.modality != modality:
        raise UserError(
            f"train.streams.{modality}={meta.stream!r}: {path} holds a stream of modality {meta.modality}"
        )
    _same_rows(cache.utterances, data.utterances, path)
    if not known:
        _unseen(meta, data, path)
    if not known and not ((cache.status == 0) & (data.split == "train")).any():
        shown = ", ".join(f"{n} {status}" for status, n in cache.counts().items())
        data.dropped[modality] = f"no utterance of the train split has a feature in {path} ({shown})"
        return False
    data.streams[modality] = meta
    return True


def _same_rows(cached: Sequence[str], utterances: Sequence[Utterance], path: Path) -> None:
    names = [u.utterance for u in utterances]
    if list(cached) == names:
        return
    at = next(
        (i for i, (a, b) in enumerate(zip(cached, names, strict=False)) if a != b),
        min(len(cached), len(names)),
    )
    raise UserError(
        f"{path}: its rows are not those of {UTTERANCES} ({len(cached)} and {len(names)} rows; they differ first "
        f"at row {at + 1}); run `dvc repro` so that both come from the same corpus"
    )


def ids_hash(utterances: Sequence[Utterance], split: np.ndarray) -> str:
    """sha256 over the ids outside the test split: what fine-tuned weights were fitted to and selected on."""
    seen = sorted(u.utterance for u, s in zip(utterances, split, strict=True) if s != "test")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()


def _unseen(meta: Meta, data: Corpus, path: Path) -> None:
    if meta.weights_saw and meta.weights_saw["ids"] != ids_hash(data.utterances, data.split):
        raise UserError(
            f"{path}: the weights behind it were fitted with fold {meta.weights_saw['fold']}, whose training part is "
            "not this run's, so that they may have seen its test utterances; set train.fold to that fold, or "
            "fine-tune an encoder for this one"
        )


def _statistics(x: np.ndarray, rows: np.ndarray) -> Statistics:
    # In double precision: openSMILE's dimensions span nine orders of magnitude. Some columns at a time, never
    # one alone (NumPy would add it up in another order): copies of all would be five times the features.
    count = x.shape[1]
    mean, sd = np.empty(count), np.empty(count)
    for part in np.array_split(np.arange(count), -(-count // COLUMNS)):
        columns = slice(part[0], part[-1] + 1)
        some = x[rows, columns]
        mean[columns], sd[columns] = some.mean(0, dtype=np.float64), some.std(0, dtype=np.float64)
    return Statistics(mean, sd)


def _normalised(
    x: np.ndarray, present: np.ndarray, stats: Statistics, speakers: Sequence[tuple[str, str] | None] | None
) -> np.ndarray:
    mean, sd = stats.mean[None], stats.sd[None]
    if speakers is not None:
        groups = pd.Series(range(len(x))).groupby(pd.Index(speakers)).indices
        mean, sd = np.repeat(mean, len(x), 0), np.repeat(sd, len(x), 0)
        for rows in groups.values():
            own = rows[present[rows]]
            if len(own):
                shrunk = shrink(_statistics(x, own), len(own), stats)
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


def batches(
    chosen: Sequence[int], size: int, generator: torch.Generator | None = None
) -> Iterator[list[int]]:
    """Dialogues in groups of `size`: shuffled by `generator`, or in order without one."""
    order = torch.randperm(len(chosen), generator=generator).tolist() if generator else range(len(chosen))
    for start in range(0, len(chosen), size):
        yield [chosen[order[i]] for i in range(start, min(start + size, len(chosen)))]


def bucketed(
    order: Sequence[int], sizes: Sequence[int] | np.ndarray, size: int, pool: int, generator: torch.Generator
) -> list[list[int]]:
    """Batches of at most `size` of like `sizes`, shuffled among each other: `pool` batches' worth of `order` at a time
    are sorted together.
    """
    groups: list[list[int]] = []
    for some in batches(order, pool * size):
        groups += batches(sorted(some, key=lambda i: sizes[i]), size)
    return [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
