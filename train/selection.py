"""Select the epoch with the best score on val, for fusion models and for fine-tuned encoders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn


@dataclass
class Trained:
    """The weights of the best epoch so far, and the losses and scores of all epochs.

    Attributes:
        weights: the weights of `best_epoch`; empty before the first epoch.
        best_epoch: counted from 1; 0 before the first epoch.
        history: losses and scores of each epoch.
    """

    weights: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, float]]

    @property
    def best(self) -> dict[str, float]:
        """The losses and scores of `best_epoch`, which must be above 0."""
        return self.history[self.best_epoch - 1]


def added(done: Trained, model: nn.Module, row: dict[str, float], main: str) -> Trained:
    """Return `done` with one more epoch, and with the weights of `model` if the epoch has the best score so far.

    Args:
        done: the epochs before.
        model: the model after the epoch.
        row: losses and scores of the epoch.
        main: the score that selects, a key of `row`.
    """
    best = max((r[main] for r in done.history), default=-math.inf)
    if row[main] > best:
        return Trained(weights_of(model), int(row["epoch"]), [*done.history, row])
    return Trained(done.weights, done.best_epoch, [*done.history, row])


def scores(p: Tensor, y: Tensor) -> dict[str, float]:
    """Return cross-entropy and scores on val, under keys `val_…`.

    Args:
        p: [N, C] logits.
        y: [N] labels.
    """
    guess = p.argmax(1)
    return {
        "val_ce": nn.functional.cross_entropy(p, y).item(),
        "val_weighted_f1": float(f1_score(y, guess, average="weighted", zero_division=0)),
        "val_macro_f1": float(f1_score(y, guess, average="macro", zero_division=0)),
        "val_accuracy": float(accuracy_score(y, guess)),
    }


def majority_f1(labels: Tensor) -> float:
    """Return the weighted F1 of predicting the most frequent label for every labelled utterance.

    No constant prediction scores higher.

    Args:
        labels: [N] label numbers, -1 where unlabelled; at least one is labelled.
    """
    known = labels[labels >= 0]
    logits = torch.bincount(known).double().expand(len(known), -1)
    return scores(logits, known)["val_weighted_f1"]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's state on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
