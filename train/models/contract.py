"""What goes into a fusion model and what comes out: the same for every model in this folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pipeline.params import MODALITIES

__all__ = ["MODALITIES", "Batch", "FrameBatch", "Output", "Solved"]


@dataclass
class Batch:
    """Whole dialogues, padded at the end to the longest: B dialogues, T turns, U = sum(lengths) utterances."""

    features: dict[
        str, Tensor
    ]  # modality -> [B, T, D] float32, modalities in use only; 0 where missing or padded
    present: dict[str, Tensor]  # modality -> [B, T] bool, False where the feature is missing or padded
    speakers: Tensor  # [B, T] long, a party's number by first appearance in its dialogue, without a cap
    lengths: Tensor  # [B] long, always on the CPU: the shapes of a step are known without asking the device
    labels: Tensor  # [U] long in dialogue-then-turn order, -1 where unlabelled
    indices: Tensor  # [U] long, row numbers in the utterance table

    def real(self) -> Tensor:
        """[B, T] bool, False where padded; what it picks is in dialogue-then-turn order."""
        real = torch.arange(self.speakers.shape[1]) < self.lengths[:, None]
        return real.to(self.speakers.device)


@dataclass
class FrameBatch:
    """U utterances, each modality's frames padded at the end to the longest of them."""

    features: dict[str, Tensor]  # modality -> [U, T, D] float32, modalities in use only; 0 where padded
    present: dict[str, Tensor]  # modality -> [U, T] bool; a row without any True is a missing feature
    labels: Tensor  # [U] long, -1 where unlabelled
    indices: Tensor  # [U] long, row numbers in the utterance table


@dataclass(kw_only=True)
class Output:
    """A model's answer for the U utterances of a batch, in its order; a model whose loss reads more adds to it."""

    logits: Tensor  # [U, classes]


@runtime_checkable
class Solved(Protocol):
    """A model that is solved for, not descended to."""

    def solutions(self, features: Mapping[str, Tensor], labels: Tensor) -> Iterator[float]:
        """Take up one solution after the other for [N, D] features and [N] labels, giving each one's strength.

        The caller scores each on val, as it does the epochs of a network, and keeps the best.
        """
