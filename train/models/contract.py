"""The input and output types of all fusion models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pipeline.params import MODALITIES
from train.targets.goal import Goal

__all__ = ["MODALITIES", "Batch", "FrameBatch", "Output", "Solved"]


@dataclass
class Batch:
    """B whole dialogues, padded at the end to T turns; U = sum(lengths) utterances.

    Attributes:
        features: modality in use → [B, T, D] float32, 0 where missing or padded.
        present: modality in use → [B, T] bool, False where missing or padded.
        speakers: [B, T] long, the number of the party within the dialogue, by first appearance, without a limit.
        lengths: [B] long, always on the CPU, so that shapes are known without waiting for the device.
        labels: the truth of the U utterances in dialogue-then-turn order, [U] long or [U, K] float
            (train/truth.py).
        indices: [U] long, row numbers in utterances.csv.
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    speakers: Tensor
    lengths: Tensor
    labels: Tensor
    indices: Tensor

    def real(self) -> Tensor:
        """Return [B, T] bool, False where padded. As an index it selects in dialogue-then-turn order."""
        real = torch.arange(self.speakers.shape[1]) < self.lengths[:, None]
        return real.to(self.speakers.device)


@dataclass
class FrameBatch:
    """U utterances; the frames of each modality are padded at the end to the longest utterance.

    Attributes:
        features: modality in use → [U, T, D] float32, 0 where padded.
        present: modality in use → [U, T] bool, False where padded. A row of False is a missing feature.
        labels: the truth of the U utterances, [U] long or [U, K] float (train/truth.py).
        indices: [U] long, row numbers in utterances.csv.
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    labels: Tensor
    indices: Tensor


@dataclass(kw_only=True)
class Output:
    """A model's output for the U utterances of a batch. A subclass adds what the model's loss needs.

    Attributes:
        logits: [U, K] in the order of the batch; for values, in standard deviations from the mean.
    """

    logits: Tensor


@runtime_checkable
class Solved(Protocol):
    """A model fitted by a solver instead of gradient descent."""

    def solutions(self, batches: Iterable[Batch], goal: Goal) -> Iterator[float]:
        """Set the weights to one solution after another, and yield the regularisation strength of each.

        The caller scores each solution on val, like the epochs of a network, and keeps the best.

        Args:
            batches: the train dialogues. Unlabelled utterances are context only.
            goal: what the model learns.
        """
