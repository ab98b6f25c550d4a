"""Caches and labels → one dataset in memory → padded batches of whole dialogues.

Everything fusion training reads fits in memory (MELD's three pooled caches are 446 MB), so an epoch never
touches a disk. Features are normalised once; a missing feature is a zero that `present` marks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.features import FeatureCache, Meta
from pipeline.params import FEATURES, Params
from pipeline.tables import (
    LABELS,
    UTTERANCES,
    Utterance,
    dialogues,
    parties,
    read_labels,
    read_utterances,
    splits,
)
from train.models import Batch

SHRINK = 10.0  # own statistics of a speaker count like this many utterances less (DESIGN: n·own + 10·global)
TINY_SD = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation [D] of one modality over the train split's present features."""

    mean: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """All utterances of a corpus, row i = row i of utterances.csv.

    Attributes:
        features: modality → [N, D] f4, normalised, 0 where missing.
        present: modality → [N] bool.
        labels: [N] long, the place in `label_names`, -1 where unlabelled.
        split: [N] of train, val, test.
        speakers: [N] long, the party's number in its dialogue.
        turns: for each dialogue the half-open range of its rows.
        streams: modality → what its cache says of itself.
        dropped: modality → why it is not used although params name a stream for it.
    """

    utterances: list[Utterance]
    label_names: list[str]
    labels: Tensor
    split: np.ndarray
    speakers: Tensor
    turns: list[tuple[int, int]]
    features: dict[str, Tensor]
    present: dict[str, Tensor]
    statistics: dict[str, Statistics]
    streams: dict[str, Meta]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def dims(self) -> dict[str, int]:
        return {modality: x.shape[1] for modality, x in self.features.items()}

    def class_counts(self) -> Tensor:
        """[C] labelled utterances of the train split per emotion (eq. 19's n_y)."""
        train = torch.from_numpy(self.split == "train") & (self.labels >= 0)
        return torch.bincount(self.labels[train], minlength=len(self.label_names))

    def dialogues_of(self, split: str) -> list[int]:
        """Positions in `turns` of the dialogues of a split."""
        return [d for d, (start, _) in enumerate(self.turns) if self.split[start] == split]

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
    utterances = read_utterances(UTTERANCES)
    table = read_labels(utterances, params.corpus.labels, LABELS)
    split = splits(table, utterances, params.train.fold, params.train.seed)
    number = {name: i for i, name in enumerate(params.corpus.labels)}
    labels = torch.tensor([number.get(emotion, -1) for emotion in table["emotion"]])
    data = _without_features(utterances, params.corpus.labels, labels, split)
    for modality, name in params.train.streams.in_use().items():
        _add_stream(data, modality, FEATURES / f"{name}.h5", params.train.normalise)
    if not data.features:
        why = "; ".join(f"{m}: {reason}" for m, reason in data.dropped.items())
        raise UserError(f"no modality has features to train on ({why})")
    return data


def load_unlabelled(
    utterances: list[Utterance],
    label_names: list[str],
    caches: Mapping[str, Path],
    statistics: Mapping[str, Statistics],
    normalise: str,
) -> Dataset:
    """New recordings for a trained model: nothing is labelled, all of it is `test`.

    Args:
        caches: modality → the stream's file.
        statistics: modality → the model's own, from its train split.

    Raises:
        UserError: a cache is damaged, or not of these utterances.
    """
    labels, split = torch.full((len(utterances),), -1), np.full(len(utterances), "test")
    data = _without_features(utterances, label_names, labels, split)
    for modality, path in caches.items():
        _add_stream(data, modality, path, normalise, statistics[modality])
    return data


def _without_features(
    utterances: list[Utterance], label_names: list[str], labels: Tensor, split: np.ndarray
) -> Dataset:
    groups = list(dialogues(utterances))
    stops = np.cumsum([len(g) for g in groups]).tolist()
    return Dataset(
        utterances=utterances,
        label_names=label_names,
        labels=labels,
        split=split,
        speakers=torch.tensor([p for g in groups for p in parties(g)]),
        turns=list(zip([0, *stops[:-1]], stops, strict=True)),
        features={},
        present={},
        statistics={},
        streams={},
    )


def _add_stream(
    data: Dataset, modality: str, path: Path, normalise: str, known: Statistics | None = None
) -> None:
    with FeatureCache(path) as cache:
        meta, counts = cache.meta, cache.counts()
        if meta.modality != modality:
            raise UserError(
                f"train.streams.{modality}={meta.stream!r}: {path} holds a stream of modality {meta.modality}"
            )
        _same_rows(cache.utterances, data.utterances, path)
        if known is None:
            _unseen(meta, data, path)
        pooled, present = cache.pooled(), cache.status == 0
    data.counts[meta.stream] = counts
    train = present & (data.split == "train")
    if known is None and not train.any():
        shown = ", ".join(f"{n} {status}" for status, n in counts.items())
        data.dropped[modality] = f"no utterance of the train split has a feature in {path} ({shown})"
        return
    stats = known or _statistics(pooled[train])
    speaker = [(u.session, u.speaker) for u in data.utterances] if normalise == "speaker" else None
    data.features[modality] = torch.from_numpy(_normalised(pooled, present, stats, speaker))
    data.present[modality] = torch.from_numpy(present)
    data.statistics[modality] = stats
    data.streams[modality] = meta


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


def _unseen(meta: Meta, data: Dataset, path: Path) -> None:
    if meta.weights_saw and meta.weights_saw["ids"] != ids_hash(data.utterances, data.split):
        raise UserError(
            f"{path}: the weights behind it were fitted with fold {meta.weights_saw['fold']}, whose training part is "
            "not this run's, so that they may have seen its test utterances; set train.fold to that fold, or "
            "fine-tune an encoder for this one"
        )


def _statistics(x: np.ndarray) -> Statistics:
    # In double precision: openSMILE's dimensions span nine orders of magnitude.
    return Statistics(x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64))


def _normalised(
    x: np.ndarray, present: np.ndarray, stats: Statistics, speakers: Sequence[tuple[str, str]] | None
) -> np.ndarray:
    mean, sd = stats.mean[None], stats.sd[None]
    if speakers is not None:
        groups = pd.Series(range(len(x))).groupby(pd.Index(speakers)).indices
        mean, sd = np.repeat(mean, len(x), 0), np.repeat(sd, len(x), 0)
        for rows in groups.values():
            own = rows[present[rows]]
            if len(own):
                s, n = _statistics(x[own]), len(own)
                mean[rows] = (n * s.mean + SHRINK * stats.mean) / (n + SHRINK)
                sd[rows] = (n * s.sd + SHRINK * stats.sd) / (n + SHRINK)
    # A dimension that never varies in training carries nothing; dividing by its rounding noise would.
    scale = np.where(sd > TINY_SD * np.maximum(1.0, np.abs(mean)), sd, np.inf)
    out = ((x - mean) / scale).astype(np.float32)
    out[~present] = 0.0
    return out


def batches(
    chosen: Sequence[int], size: int, generator: torch.Generator | None = None
) -> Iterator[list[int]]:
    """Dialogues in groups of `size`: shuffled by `generator`, or in order without one."""
    order = torch.randperm(len(chosen), generator=generator).tolist() if generator else range(len(chosen))
    for start in range(0, len(chosen), size):
        yield [chosen[order[i]] for i in range(start, min(start + size, len(chosen)))]
