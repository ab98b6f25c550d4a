"""The utterances of a corpus, what each is labelled, and in which split it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.tables.schema import LABELS, UTTERANCES, Utterance, read_labels, read_utterances
from pipeline.tables.splits import splits


@dataclass(frozen=True)
class Labelled:
    """Utterances with their labels and splits; row i is row i of utterances.csv.

    Attributes:
        labels: [N] long, the place in `label_names`, -1 where unlabelled.
        split: [N] of train, val, test.
    """

    utterances: list[Utterance]
    label_names: list[str]
    labels: Tensor
    split: np.ndarray

    def class_counts(self) -> Tensor:
        """Return [C], the labelled utterances of the train split per emotion (eq. 19's n_y)."""
        train = torch.from_numpy(self.split == "train") & (self.labels >= 0)
        return torch.bincount(self.labels[train], minlength=len(self.label_names))

    def speakers(self) -> list[tuple[str, str] | None]:
        """Return [N] (session, speaker), whose statistics `train.normalise: speaker` keeps; None where unnamed."""
        return [(u.session, u.speaker) if u.speaker else None for u in self.utterances]

    def ids(self) -> dict[str, str]:
        """Return for train and val the sha256, hex, over their ids: what fine-tuned weights saw."""
        return {part: self._hash(part) for part in ("train", "val")}

    def _hash(self, part: str) -> str:
        names = sorted(
            u.utterance for u, split in zip(self.utterances, self.split, strict=True) if split == part
        )
        return hashlib.sha256("\n".join(names).encode()).hexdigest()


def labelled(label_names: list[str], fold: str | int, seed: int, field: str = "train.fold") -> Labelled:
    """Read the two tables; `fold`, `seed` and `field` as `splits` takes them.

    Raises:
        UserError: a table is damaged, they do not belong together, or the fold names no session.
    """
    utterances = read_utterances(UTTERANCES)
    table = read_labels(utterances, label_names, LABELS)
    number = {name: i for i, name in enumerate(label_names)}
    return Labelled(
        utterances=utterances,
        label_names=label_names,
        labels=torch.tensor([number.get(emotion, -1) for emotion in table["emotion"]]),
        split=splits(table, utterances, fold, seed, field),
    )


def unlabelled(utterances: list[Utterance], label_names: list[str]) -> Labelled:
    """Return new recordings, which have no labels: all of them are `test`."""
    count = len(utterances)
    return Labelled(utterances, label_names, torch.full((count,), -1), np.full(count, "test"))
