"""Predictions of a run as plain data, from which files, plots and report are made.

A score is the mean of the seeds' scores. It is never the score of averaged probabilities, which would describe an
ensemble instead of a trained model. Confusion matrix, calibration curve and dialogue view show the first seed's model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.params import Params
from pipeline.tables.schema import Utterance, dialogues
from pipeline.tables.target import target_of

Attention = dict[tuple[str, str], list[np.ndarray | None]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One seed's predictions for every row of utterances.csv.

    Attributes:
        seed: the seed.
        probabilities: `[N, C]`, calibrated; rows sum to 1, except for several labels. The predicted values if
            `corpus.target` is `values`.
        temperature: the temperature of the calibration.
        thresholds: the probability from which each label applies, for several labels per utterance; else empty.
        without: {modality: `[N, C]`} with that modality hidden; empty if only one modality is in use.
        attention: {(query modality, key modality): `[T, T]` per test dialogue, in row order}, the mean over the
            heads of the last layer, row = query turn; None for a dialogue that is left out (`load.looked_at`).
            The whole attribute is None if the model has no attention, and for all seeds but the first.
    """

    seed: int
    probabilities: np.ndarray
    without: dict[str, np.ndarray] = field(default_factory=dict)
    attention: Attention | None = None
    temperature: float = 1.0
    thresholds: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name, values in {"probabilities": self.probabilities, **self.without}.items():
            if values.shape != self.probabilities.shape or not np.isfinite(values).all():
                raise ValueError(f"seed {self.seed}, {name}: not a finite [N, C] array")


@dataclass(frozen=True)
class Stream:
    """One stream in use: its encoder's params, the name of its weights, and a status for every row."""

    name: str
    modality: str
    encoder: dict[str, Any]
    weights: str
    status: Sequence[str]


@dataclass(frozen=True, eq=False)
class Run:
    """The data of a report.

    Attributes:
        params: the params of the run.
        utterances: the N rows of utterances.csv.
        truth: `[N]` label numbers, -1 for an unlabelled utterance or tied votes. For several labels and for values
            `[N, C]`, NaN where unlabelled (train/truth.py).
        splits: `[N]` of train, val, test, after applying the fold.
        predictions: one per seed, at least one.
        streams: the streams in use.
        history: {seed: one row per epoch}.
        best_epoch: {seed: the epoch chosen on val}.
        dropped: {modality: why it is not used although params.yaml names a stream for it}.
        hints: sentences about properties of training that make the scores low or uncertain (train/fusion/hints.py).
        logistic: the predictions of logistic regression on the same features (evaluate/run/baselines.py), or None.
        oracle: one per seed, from the epoch with the best main score on *test*; empty without
            `evaluate.oracle_test`.
        shares: `[N, C]` shares of the votes, NaN where unlabelled; None unless `corpus.target` is `soft`.
    """

    params: Params
    utterances: Sequence[Utterance]
    truth: np.ndarray
    splits: np.ndarray
    predictions: Sequence[Prediction]
    streams: Sequence[Stream]
    history: dict[int, pd.DataFrame]
    best_epoch: dict[int, int]
    dropped: dict[str, str] = field(default_factory=dict)
    hints: Sequence[str] = ()
    logistic: Prediction | None = None
    oracle: Sequence[Prediction] = ()
    shares: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        """The names of the outputs, labels or values, in order."""
        return target_of(self.params.corpus).names

    @property
    def dialogues(self) -> np.ndarray:
        """`[N]` identifiers of the utterances' dialogues."""
        return np.array([u.dialogue for u in self.utterances])

    @property
    def first(self) -> Prediction:
        """The predictions of the first seed, which the report shows."""
        return self.predictions[0]

    def test_dialogues(self) -> list[list[int]]:
        """Return the row numbers of every test dialogue, in row order."""
        groups, start = [], 0
        for dialogue in dialogues(self.utterances):
            if self.splits[start] == "test":
                groups.append(list(range(start, start + len(dialogue))))
            start += len(dialogue)
        return groups


def leaders(prediction: Prediction) -> np.ndarray:
    """Return `[N]` names: the modality whose hiding lowers the predicted label most, '' if none lowers it."""
    rows = np.arange(len(prediction.probabilities))
    predicted = prediction.probabilities.argmax(axis=1)
    names = list(prediction.without)
    drops = np.stack(
        [prediction.probabilities[rows, predicted] - prediction.without[m][rows, predicted] for m in names]
    )
    return np.where(drops.max(axis=0) > 0, np.array(names, dtype=object)[drops.argmax(axis=0)], "")
