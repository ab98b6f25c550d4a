"""Set features of a batch missing: at random in training (`train.modality_dropout`), and in evaluation.

A model reads only `present`, as for a feature that could not be extracted.
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
    """Return the batch with each modality of each utterance missing with probability `rate`.

    An utterance keeps at least one of the modalities that it has.

    Args:
        batch: dialogues, or utterances with frames; U utterances and M modalities.
        rate: from 0 to 1.
        numbers: [M, U] random numbers, uniform from 0 to 1; modalities in the order of `batch.present`.
    """
    lost = lose(torch.stack([has(batch, m) for m in batch.present]), numbers.to(batch.labels.device), rate)
    return without(batch, dict(zip(batch.present, lost, strict=True)))


def lose(here: Tensor, numbers: Tensor, rate: float) -> Tensor:
    """Return which modalities are set missing: [M, U] bool.

    Args:
        here: [M, U] bool, which modalities each utterance has.
        numbers: [M, U] random numbers, uniform from 0 to 1.
        rate: a modality with a number below it is set missing.
    """
    # The present modality with the largest number always stays, so that each is equally likely to.
    numbers = numbers.masked_fill(~here, -1)
    return here & (numbers < rate) & (numbers < numbers.amax(0))


def without(batch: B, lost: Mapping[str, Tensor]) -> B:
    """Return the batch with some features missing.

    Args:
        batch: dialogues, or utterances with frames; U utterances.
        lost: modality → [U] bool, True where the feature is set missing.
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
    """Return which of the U utterances have a modality, [U] bool."""
    present = batch.present[modality]
    return present[batch.real()] if isinstance(batch, Batch) else present.any(1)
