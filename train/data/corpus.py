"""What training and evaluation know of a corpus, whatever a model reads of its streams.

`batches.Dataset` has whole dialogues of pooled features, `frames.FrameDataset` utterances with their frames; the loop
and evaluation see `Corpus` alone.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.tables.schema import LABELS, UTTERANCES, Utterance, read_labels, read_utterances
from pipeline.tables.splits import splits

if TYPE_CHECKING:
    from pipeline.features import Meta


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation [D] of one modality over the train split's present features."""

    mean: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Corpus(ABC):
    """What training and evaluation know of a corpus, row i = row i of utterances.csv. A *unit* is what batches are
    made of: dialogues, or utterances with their frames.

    Attributes:
        labels: [N] long, the place in `label_names`, -1 where unlabelled.
        split: [N] of train, val, test.
        streams: modality → what its cache says of itself.
        dropped: modality → why it is not used although params name a stream for it.
    """

    utterances: list[Utterance]
    label_names: list[str]
    labels: Tensor
    split: np.ndarray
    statistics: dict[str, Statistics] = field(default_factory=dict)
    streams: dict[str, Meta] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    kind: ClassVar[str]  # what the units are, in the plural

    @property
    @abstractmethod
    def dims(self) -> dict[str, int]:
        """{modality in use: feature size}."""

    @abstractmethod
    def units(self, split: str | None = None) -> list[int]:
        """The units of a split, or all."""

    @abstractmethod
    def rows(self, unit: int) -> slice:
        """A unit's rows."""

    @abstractmethod
    def name(self, unit: int) -> str:
        """What a message calls the unit."""

    @abstractmethod
    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Units in groups of `size`: an epoch drawn by `generator`, or every one once without it."""

    @abstractmethod
    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> Any:
        """The given units as what the model's forward takes."""

    def class_counts(self) -> Tensor:
        """[C] labelled utterances of the train split per emotion (eq. 19's n_y)."""
        train = torch.from_numpy(self.split == "train") & (self.labels >= 0)
        return torch.bincount(self.labels[train], minlength=len(self.label_names))


def tables(label_names: list[str], fold: str | int, seed: int, field: str = "train.fold") -> dict[str, Any]:
    """The fields of `Corpus` that come from the two tables; `fold`, `seed` and `field` as `splits` takes them.

    Raises:
        UserError: a table is damaged, they do not belong together, or the fold names no session.
    """
    utterances = read_utterances(UTTERANCES)
    table = read_labels(utterances, label_names, LABELS)
    number = {name: i for i, name in enumerate(label_names)}
    return {
        "utterances": utterances,
        "label_names": label_names,
        "labels": torch.tensor([number.get(emotion, -1) for emotion in table["emotion"]]),
        "split": splits(table, utterances, fold, seed, field),
    }


def unlabelled(utterances: list[Utterance], label_names: list[str]) -> dict[str, Any]:
    """The fields of `Corpus` for recordings without a table of labels."""
    labels, split = torch.full((len(utterances),), -1), np.full(len(utterances), "test")
    return {"utterances": utterances, "label_names": label_names, "labels": labels, "split": split}


def something_left(data: Corpus) -> None:
    """Raises UserError where every modality was dropped."""
    if not data.streams:
        why = "; ".join(f"{m}: {reason}" for m, reason in data.dropped.items())
        raise UserError(f"no modality has features to train on ({why})")


def speakers(data: Corpus) -> list[tuple[str, str] | None]:
    """[N] who spoke: `train.normalise: speaker` keeps statistics of each, None where nobody is named."""
    return [(u.session, u.speaker) if u.speaker else None for u in data.utterances]


def ids_hash(utterances: Sequence[Utterance], split: np.ndarray) -> str:
    """sha256 over the ids outside the test split: what fine-tuned weights were fitted to and selected on."""
    seen = sorted(u.utterance for u, s in zip(utterances, split, strict=True) if s != "test")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()
