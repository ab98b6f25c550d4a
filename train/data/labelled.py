"""The utterances of a corpus with their labels and splits."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from pipeline.params import Val
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import LABELS, UTTERANCES, Utterance, read_utterances
from pipeline.tables.splits import ids_hash, splits
from pipeline.tables.target import Target
from train.truth import truth_of


@dataclass(frozen=True)
class Labelled:
    """Utterances with their labels and splits; row i is row i of utterances.csv.

    Attributes:
        utterances: the N utterances.
        target: what a model learns; `target.names` has the names of the K outputs.
        labels: the truth of the N utterances, [N] long or [N, K] float (train/truth.py).
        split: [N] strings, `train`, `val` or `test`.
    """

    utterances: list[Utterance]
    target: Target
    labels: Tensor
    split: np.ndarray

    def speakers(self) -> list[tuple[str, str] | None]:
        """Return (session, speaker) of the N utterances, None where the speaker is unnamed.

        `train.normalise: speaker` computes statistics for each pair.
        """
        return [(u.session, u.speaker) if u.speaker else None for u in self.utterances]

    def ids(self, held_out: Collection[str] = ()) -> dict[str, str]:
        """Return the sha256 (hex) of the sorted utterance ids, for `train` and for `val`.

        Args:
            held_out: dialogues whose utterances are left out.
        """
        return {part: self._hash(part, held_out) for part in ("train", "val")}

    def _hash(self, part: str, held_out: Collection[str]) -> str:
        return ids_hash(
            u.utterance
            for u, split in zip(self.utterances, self.split, strict=True)
            if split == part and u.dialogue not in held_out
        )


def labelled(
    target: Target, fold: str | int, seed: int, val: Val = "any", field: str = "train.fold"
) -> Labelled:
    """Read utterances.csv and labels.csv.

    Args:
        target: what a model learns.
        fold: the session to test on, or `none` for the splits in labels.csv.
        seed: draws val.
        val: `any`, or `speaker` for a val split whose speakers are not in train.
        field: the param that holds `fold`, for messages.

    Raises:
        UserError: a table is damaged, the tables have different utterances, there is no such session, or val cannot
            be drawn.
    """
    utterances = read_utterances(UTTERANCES)
    table = read_labels(utterances, target, LABELS)
    return Labelled(
        utterances=utterances,
        target=target,
        labels=truth_of(table, target),
        split=splits(table, utterances, fold, seed, val, field),
    )


def unlabelled(utterances: list[Utterance], target: Target) -> Labelled:
    """Return new recordings as unlabelled utterances of the test split."""
    table = pd.DataFrame(dict.fromkeys(target.values, math.nan), index=range(len(utterances)))
    return Labelled(
        utterances, target, truth_of(table.assign(emotion=""), target), np.full(len(table), "test")
    )
