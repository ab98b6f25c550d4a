"""Features that are set missing: at random in training (`train.modality_dropout`), and by evaluation.

A model sees nothing of it but `present`, as for a feature that could not be extracted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from train.models.contract import Batch, FrameBatch

B = TypeVar("B", Batch, FrameBatch)


def drawn(batch: B, rate: float, numbers: Tensor) -> B:
    """Set each modality of each utterance missing with probability `rate`, never all that an utterance has.

    Args:
        batch: of B dialogues or of U utterances with frames; what was missing stays so.
        rate: from 0 to 1.
        numbers: [M, U], uniform from 0 to 1, modalities in the order of `batch.present`.
    """
    lost = lose(torch.stack([has(batch, m) for m in batch.present]), numbers.to(batch.labels.device), rate)
    return without(batch, dict(zip(batch.present, lost, strict=True)))


def lose(here: Tensor, numbers: Tensor, rate: float) -> Tensor:
    """Return which modalities of U utterances go missing: [M, U] bool.

    Args:
        here: [M, U] bool, what each utterance has.
        numbers: [M, U], uniform from 0 to 1; a modality is lost where its number is below `rate`.
        rate: from 0 to 1.
    """
    # The present modality with the largest number stays: all have the same chance of it.
    numbers = numbers.masked_fill(~here, -1)
    return here & (numbers < rate) & (numbers < numbers.amax(0))


def without(batch: B, lost: Mapping[str, Tensor]) -> B:
    """Return the batch as if the features of some utterances had failed.

    Args:
        batch: of B dialogues or of U utterances with frames.
        lost: modality → [U] bool.
    """
    features, present = dict(batch.features), dict(batch.present)
    for m, rows in lost.items():
        if isinstance(batch, Batch):
            mask = batch.real()
            mask[mask.clone()] = rows
        else:
            mask = rows[:, None].expand_as(present[m])
        features[m] = features[m].masked_fill(mask[..., None], 0)
        present[m] = present[m] & ~mask
    return dataclasses.replace(batch, features=features, present=present)


def has(batch: Batch | FrameBatch, modality: str) -> Tensor:
    """Return which utterances have a modality, [U] bool."""
    present = batch.present[modality]
    return present[batch.real()] if isinstance(batch, Batch) else present.any(1)
