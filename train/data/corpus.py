"""The interface of a corpus, as the training loop and evaluation use it.

`dialogues.Dialogues` implements it for whole dialogues of pooled features, `utterances.Utterances` for single
utterances with their frames.
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
from train.targets.goal import Goal
from train.truth import known

if TYPE_CHECKING:
    from pipeline.features import FeatureCache, Meta
    from pipeline.params import TrainParams
    from pipeline.tables.schema import Utterance


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation, both [D], of one modality's features.

    They are computed on the train split's present features.
    """

    mean: np.ndarray
    sd: np.ndarray


class Stream(Protocol):
    """One modality's features as a model reads them."""

    @property
    def meta(self) -> Meta:
        """The cache's metadata."""
        ...

    @property
    def statistics(self) -> Statistics:
        """The statistics that normalise the features."""
        ...

    @property
    def dim(self) -> int:
        """The size of a feature, D."""
        ...

    def available(self) -> np.ndarray:
        """Return whether each utterance has the feature, [N] bool."""
        ...

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return one vector for each of `rows`, [n, D] f8: its normalised feature, or the mean of its frames."""
        ...


@dataclass(frozen=True)
class Corpus(ABC):
    """Labelled utterances and their streams, in batches of *units*.

    A unit is a dialogue, or an utterance with its frames.

    Attributes:
        labelled: the utterances with their labels and splits.
        streams: modality → its stream.
        dropped: modality → why its stream in params.yaml is not used.
        goal: what a model learns of them.
        kind: the plural name of the units, for messages.
    """

    labelled: Labelled
    streams: Mapping[str, Stream]
    dropped: dict[str, str]
    goal: Goal

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def stream(
        cls, modality: str, cache: FeatureCache, data: Labelled, train: TrainParams, known: Statistics | None
    ) -> Stream:
        """Read one modality's features from its cache.

        Args:
            modality: `text`, `audio` or `visual`.
            cache: the open cache. The stream closes it after its last read.
            data: the utterances with their labels and splits.
            train: the section `train` of params.yaml.
            known: a trained model's statistics. With None they are computed on the train split.

        Raises:
            UserError: the cache is damaged or lacks the features.
        """

    @property
    def utterances(self) -> list[Utterance]:
        """The N utterances, in the order of utterances.csv."""
        return self.labelled.utterances

    @property
    def labels(self) -> Tensor:
        """The truth of the N utterances, [N] long or [N, K] float (train/truth.py)."""
        return self.labelled.labels

    @property
    def split(self) -> np.ndarray:
        """[N] strings: `train`, `val` or `test`."""
        return self.labelled.split

    @property
    def dims(self) -> dict[str, int]:
        """Modality in use → feature size."""
        return {modality: stream.dim for modality, stream in self.streams.items()}

    @property
    def statistics(self) -> dict[str, Statistics]:
        """Modality in use → the statistics that normalise its features."""
        return {modality: stream.statistics for modality, stream in self.streams.items()}

    @abstractmethod
    def units(self, split: str | None = None) -> list[int]:
        """Return the units of a split, or all units."""

    def labelled_units(self, split: str) -> list[int]:
        """Return the units of a split that have a labelled utterance."""
        return [unit for unit in self.units(split) if known(self.labels[self.rows(unit)]).any()]

    @abstractmethod
    def rows(self, unit: int) -> slice:
        """Return the rows of a unit in utterances.csv."""

    @abstractmethod
    def name(self, unit: int) -> str:
        """Return the id of a unit, for messages."""

    @abstractmethod
    def groups(
        self, chosen: Sequence[int], size: int, generator: torch.Generator | None = None
    ) -> Iterator[list[int]]:
        """Yield groups of at most `size` units.

        Args:
            chosen: the units to group.
            size: the largest number of units in a group.
            generator: draws a training epoch. Without it, every unit comes once.
        """

    @abstractmethod
    def batch(self, chosen: Sequence[int], device: torch.device | str = "cpu") -> Any:
        """Return the given units as a batch for the model's `forward`."""
