"""The arrays of an import: those of a computational sequence (`.csd`), and those of an MMSA pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np

from pipeline import fragments
from pipeline.corpora.mmsa import utterance
from pipeline.corpora.pickles.mmsa import BETWEEN, Part, read_parts
from pipeline.features import csd
from pipeline.features.arrays import ArrayError
from pipeline.features.schema import CacheError
from pipeline.tables.schema import Utterance


class Loaded(NamedTuple):
    """An utterance's array.

    Attributes:
        key: the content's hash.
        array: [P] or [T, D].
        times: the frames' times [T] in seconds, if known.
        pooled: [P], if it is not the frames' mean.
        remark: what the source says about the features.
    """

    key: str
    array: np.ndarray
    times: np.ndarray | None = None
    pooled: np.ndarray | None = None
    remark: str = ""


class Arrays(Protocol):
    """The arrays of an import; `found` holds the ids of the utterances that have one."""

    found: set[str]

    def load(self, utterance: str) -> Loaded:
        """Return an utterance's array.

        Raises:
            ArrayError: if the array cannot be read.
        """


class Entries:
    """The entries of a `.csd`: an utterance's own entry, else its video's frames between `start` and `end`.

    A video's entry has the name of the media file without suffix, or of the dialogue. A frame belongs to the utterance
    in which the middle of its interval lies.

    Raises:
        CacheError: if the file is damaged.
    """

    def __init__(self, path: Path, table: Sequence[Utterance]) -> None:
        sequence = csd.Sequence(path)
        # The utterances of a video follow one another, so its entry is read once.
        self._read = lru_cache(maxsize=1)(sequence.read)
        known = set(sequence.entries)
        self._entry: dict[str, tuple[str, Utterance | None]] = {}
        for u in table:
            names = (PurePosixPath(fragments.split(u.media).file).stem, u.dialogue)
            if u.utterance in known:
                self._entry[u.utterance] = u.utterance, None
            elif video := next((name for name in names if name in known), None):
                self._entry[u.utterance] = video, u
        used = {entry for entry, _ in self._entry.values()}
        # An entry without an utterance is listed like a file without one.
        self.found = set(self._entry) | (known - used)

    def load(self, utterance: str) -> Loaded:
        """Return the utterance's frames.

        Raises:
            ArrayError: if the entry is damaged.
        """
        entry, span = self._entry[utterance]
        try:
            features, intervals = self._read(entry)
        except CacheError as error:
            raise ArrayError(str(error)) from None
        start = 0.0
        if span is not None:
            start, end = span.start or 0.0, np.inf if span.end is None else span.end
            middle = intervals.mean(axis=1)
            inside = (start <= middle) & (middle < end)
            features, intervals = features[inside], intervals[inside]
        return Loaded(array_key(features), features, np.maximum(intervals[:, 0] - start, 0))


class Clips:
    """The frames of the clips of an MMSA pickle, without their padding.

    Audio has minus infinity where its energy is 0; MMSA's loader replaces it by 0, and so does this one.

    Args:
        path: the pickle.
        field: the features: text, audio or vision.

    Raises:
        UserError: if the pickle is refused, or lacks the field.
    """

    def __init__(self, path: Path, field: str) -> None:
        self._frames: dict[str, np.ndarray] = {}
        for part in read_parts(path):
            values = part.numbers(field, 3)
            values[np.isneginf(values)] = 0
            for name, frames, length in zip(part.ids, values, _lengths(part, field), strict=True):
                video, _, clip = name.partition(BETWEEN)
                self._frames[utterance(video, clip)] = frames[: int(length)]
        self.found = set(self._frames)

    def load(self, utterance: str) -> Loaded:
        """Return the utterance's frames; their times are unknown."""
        frames = self._frames[utterance]
        return Loaded(array_key(frames), frames)


def _lengths(part: Part, field: str) -> np.ndarray:
    """Return the number of frames of each clip [N]: all of them if the pickle has neither lengths nor word pieces."""
    if f"{field}_lengths" in part.fields:
        found = part.numbers(f"{field}_lengths", 1)
    elif "text_bert" in part.fields:
        found = part.numbers("text_bert", 3)[:, 1].sum(axis=-1)
    else:
        return np.full(len(part.ids), np.iinfo(np.int32).max)
    counts: np.ndarray = np.nan_to_num(found).clip(0, np.iinfo(np.int32).max)
    return counts


def array_key(array: np.ndarray) -> str:
    """Return the sha256 (hex) of an array's type and values."""
    return hashlib.sha256(array.dtype.str.encode() + array.tobytes()).hexdigest()
