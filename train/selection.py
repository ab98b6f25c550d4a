"""Which epoch is kept: the one with the best weighted F1 on val, for fusion models and encoders alike."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn


@dataclass
class Trained:
    """The chosen epoch's weights, and what happened in every epoch."""

    weights: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, float]]


def added(done: Trained, model: nn.Module, row: dict[str, float]) -> Trained:
    """`done` with an epoch more, whose weights are kept where they are the best on val so far."""
    best = max((r["val_weighted_f1"] for r in done.history), default=-1.0)
    if row["val_weighted_f1"] > best:
        return Trained(weights_of(model), int(row["epoch"]), [*done.history, row])
    return Trained(done.weights, done.best_epoch, [*done.history, row])


def scores(p: Tensor, y: Tensor) -> dict[str, float]:
    """What `val` is judged by: cross-entropy and scores of logits [N, C] for labels [N], keys `val_…`."""
    guess = p.argmax(1)
    return {
        "val_ce": nn.functional.cross_entropy(p, y).item(),
        "val_weighted_f1": float(f1_score(y, guess, average="weighted", zero_division=0)),
        "val_macro_f1": float(f1_score(y, guess, average="macro", zero_division=0)),
        "val_accuracy": float(accuracy_score(y, guess)),
    }


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's state on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
