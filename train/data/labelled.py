"""The utterances of a corpus with their labels and splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.params import Val
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import LABELS, UTTERANCES, Utterance, read_utterances
from pipeline.tables.splits import ids_hash, splits
from pipeline.tables.target import Target


@dataclass(frozen=True)
class Labelled:
    """Utterances with their labels and splits; row i is row i of utterances.csv.

    Attributes:
        utterances: the N utterances.
        label_names: the C labels, in the order of `corpus.labels`.
        labels: [N] long, the index in `label_names`, -1 where unlabelled.
        split: [N] strings, `train`, `val` or `test`.
    """

    utterances: list[Utterance]
    label_names: list[str]
    labels: Tensor
    split: np.ndarray

    def class_counts(self) -> Tensor:
        """Return [C], the number of labelled train utterances per emotion (n_y of MultiEMO's equation 19)."""
        train = torch.from_numpy(self.split == "train") & (self.labels >= 0)
        return torch.bincount(self.labels[train], minlength=len(self.label_names))

    def speakers(self) -> list[tuple[str, str] | None]:
        """Return (session, speaker) of the N utterances, None where the speaker is unnamed.

        `train.normalise: speaker` computes statistics for each pair.
        """
        return [(u.session, u.speaker) if u.speaker else None for u in self.utterances]

    def ids(self) -> dict[str, str]:
        """Return the sha256 (hex) of the sorted utterance ids, for `train` and for `val`."""
        return {part: self._hash(part) for part in ("train", "val")}

    def _hash(self, part: str) -> str:
        return ids_hash(
            u.utterance for u, split in zip(self.utterances, self.split, strict=True) if split == part
        )


def labelled(
    label_names: list[str], fold: str | int, seed: int, val: Val = "any", field: str = "train.fold"
) -> Labelled:
    """Read utterances.csv and labels.csv.

    Args:
        label_names: the C labels of `corpus.labels`.
        fold: the session to test on, or `none` for the splits in labels.csv.
        seed: draws val.
        val: `any`, or `speaker` for a val split whose speakers are not in train.
        field: the param that holds `fold`, for messages.

    Raises:
        UserError: a table is damaged, the tables have different utterances, there is no such session, or val cannot
            be drawn.
    """
    utterances = read_utterances(UTTERANCES)
    table = read_labels(utterances, Target(label_names), LABELS)
    number = {name: i for i, name in enumerate(label_names)}
    return Labelled(
        utterances=utterances,
        label_names=label_names,
        labels=torch.tensor([number.get(emotion, -1) for emotion in table["emotion"]]),
        split=splits(table, utterances, fold, seed, val, field),
    )


def unlabelled(utterances: list[Utterance], label_names: list[str]) -> Labelled:
    """Return new recordings as unlabelled utterances of the test split."""
    count = len(utterances)
    return Labelled(utterances, label_names, torch.full((count,), -1), np.full(count, "test"))
