"""What training and evaluation know of a corpus, whatever a model reads of its streams.

`dialogues.Dialogues` has whole dialogues of pooled features, `utterances.Utterances` single utterances with their
frames; the loop and evaluation see `Corpus` alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from train.data.labelled import Labelled

if TYPE_CHECKING:
    from pipeline.features import Meta
    from pipeline.tables.schema import Utterance


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation [D] of one modality over the train split's present features."""

    mean: np.ndarray
    sd: np.ndarray


class Stream(Protocol):
    """One modality's features as a model reads them.

    Attributes:
        meta: what the cache says of itself.
        statistics: those that the features are normalised by.
        dim: the size of a feature.
    """

    @property
    def meta(self) -> Meta: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def dim(self) -> int: ...


@dataclass(frozen=True)
class Corpus(ABC):
    """Labelled utterances and the streams that a model reads of them, in batches of *units*.

    A unit is a dialogue, or an utterance with its frames.

    Attributes:
        streams: modality → its stream.
        dropped: modality → why it is not used although params name a stream for it.
    """

    labelled: Labelled
    streams: Mapping[str, Stream]
    dropped: dict[str, str]

    kind: ClassVar[str]  # what the units are, in the plural

    @property
    def utterances(self) -> list[Utterance]:
        """[N] in the order of utterances.csv."""
        return self.labelled.utterances

    @property
    def label_names(self) -> list[str]:
        """[C] in the order of `corpus.labels`."""
        return self.labelled.label_names

    @property
    def labels(self) -> Tensor:
        """[N] long, the place in `label_names`, -1 where unlabelled."""
        return self.labelled.labels

    @property
    def split(self) -> np.ndarray:
        """[N] of train, val, test."""
        return self.labelled.split

    @property
    def dims(self) -> dict[str, int]:
        """{modality in use: feature size}."""
        return {modality: stream.dim for modality, stream in self.streams.items()}

    @property
    def statistics(self) -> dict[str, Statistics]:
        """{modality in use: what its features are normalised by}."""
        return {modality: stream.statistics for modality, stream in self.streams.items()}

    @abstractmethod
    def units(self, split: str | None = None) -> list[int]:
        """Return the units of a split, or all."""

    @abstractmethod
    def rows(self, unit: int) -> slice:
        """Return a unit's rows."""

    @abstractmethod
    def name(self, unit: int) -> str:
        """Return what a message calls the unit."""

    @abstractmethod
    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Yield units in groups of `size`: an epoch drawn by `generator`, or every one once without it."""

    @abstractmethod
    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> Any:
        """Return the given units as what the model's forward takes."""

    def class_counts(self) -> Tensor:
        """Return [C], the labelled utterances of the train split per emotion (eq. 19's n_y)."""
        return self.labelled.class_counts()
