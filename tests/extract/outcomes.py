"""The items and features of clips that an encoder can read; anything else fails the test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from extract.contract import Encoder, Failure, Features, Item
from tests.extract.portraits import utterance


class Framed(NamedTuple):
    """Features that have frames: pooled `[P]`, frames `[T, D]`, times `[T]` in seconds."""

    pooled: np.ndarray
    frames: np.ndarray
    times: np.ndarray


def item_of(encoder: Encoder, path: Path) -> Item:
    """The item of a clip."""
    item = encoder.item([utterance(path)], 0)
    assert isinstance(item, Item), item
    return item


def framed(outcomes: Iterable[Features | Failure]) -> list[Framed]:
    """The outcomes, all of which must have frames."""
    found = []
    for outcome in outcomes:
        assert isinstance(outcome, Features), outcome
        assert outcome.frames is not None
        assert outcome.times is not None
        found.append(Framed(outcome.pooled, outcome.frames, outcome.times))
    return found


def extract(encoder: Encoder, items: Sequence[Item]) -> list[Framed]:
    """The features of items, in order."""
    return framed(encoder.extract(items))
