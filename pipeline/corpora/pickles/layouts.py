"""Interpret the circulating feature pickles.

Their tuples have no field names. The number of entries identifies the layout, and the content is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpora import iemocap
from pipeline.corpora.pickles import unpickle
from pipeline.corpora.pickles.texts import AGAIN, SHARED, checked
from pipeline.corpora.raw import MAX_NAME
from pipeline.errors import UserError
from pipeline.messages import listed
from pipeline.params import MODALITIES

# The role of each entry of a tuple; `-` is ignored. The first layout that fits is used.
LAYOUTS = (
    "ids speakers labels text audio visual sentences train test",  # DialogueRNN, IEMOCAP
    "ids speakers labels text audio sentences train test -",  # DialogueRNN, MELD
    "ids speakers labels text audio visual sentences train test -",  # MultiEMO, MELD
    "speakers labels text text2 text3 text4 sentences train test val",  # COSMIC
    "ids speakers labels text text2 text3 text4 audio visual sentences train test",  # MMGCN, IEMOCAP
    "ids speakers labels text text2 text3 text4 audio visual sentences train test -",  # MMGCN, MELD
)
VAL_SEED, VAL_SHARE = 2023, 0.05
MAX_LABELS = 1000  # also the maximum number of a dialogue's parties


@dataclass(frozen=True)
class Stream:
    """One kind of features: {dialogue: one [P] f4 per turn} and the source file."""

    name: str
    modality: str
    source: Path
    vectors: dict[str, list[np.ndarray]]


@dataclass(frozen=True)
class Published:
    """The pickles' content by dialogue; `ids` (of utterances) and `sentences` are empty if the pickles lack them."""

    ids: dict[str, list[str]]
    speakers: dict[str, list[str]]
    labels: dict[str, list[int]]
    sentences: dict[str, list[str]]
    split: dict[str, str]
    streams: list[Stream]


def read(files: Sequence[Path]) -> Published:
    """Read one pickle with a tuple, and any number of pickles with {dialogue: vectors}.

    Raises:
        UserError: if a pickle is refused or has an unknown layout, or the entries are inconsistent.
    """
    roles: dict[str, Any] = {}
    streams: dict[str, Stream] = {}
    tuples = []
    for path in files:
        value = unpickle.load(path)
        if isinstance(value, dict):
            modality = next((m for m in MODALITIES if m in path.stem.lower()), None)
            if modality is None:
                raise UserError(
                    f"{path}: modality unknown; rename the file to contain one of {', '.join(MODALITIES)}"
                )
            if modality in streams:
                raise UserError(
                    f"{streams[modality].source} and {path}: both contain {modality} features; give one of them"
                )
            streams[modality] = Stream(modality, modality, path, value)
        else:
            roles = _roles(value, path)
            tuples.append(path)
    if len(tuples) != 1:
        raise UserError(
            f"{listed(map(str, files))}: {len(tuples)} of these files contain speakers and labels; name exactly "
            "one such file"
        )
    for role, value in roles.items():
        modality = role.rstrip("234")
        if modality in MODALITIES and _is_features(value):
            streams.setdefault(role, Stream(role, modality, tuples[0], value))
    if not streams:
        raise UserError(f"{tuples[0]}: contains no features; give the feature files too")
    path = tuples[0]
    keys = [key for role in ("train", "val", "test") for key in _ordered(roles.get(role, ()))]
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise UserError(f"{path}: dialogue {twice[0]} occurs twice in the splits; {AGAIN}")
    lists = {key: _list(roles["labels"], key, path) for key in keys}
    if sum(map(len, lists.values())) > path.stat().st_size:
        raise UserError(
            f"{path}: refused: it has more labels than bytes, because it repeats one list; {AGAIN}"
        )
    labels = {key: [_whole(x, key, path) for x in found] for key, found in lists.items()}
    turns = {key: len(found) for key, found in labels.items()}
    names = {key: _name(key) for key in keys}
    if endless := [name for name in names.values() if len(name) > MAX_NAME]:
        raise UserError(
            f"{path}: dialogue {endless[0][:40]!r}…: the name has {len(endless[0]):,} characters, more than "
            f"{MAX_NAME}; {AGAIN}"
        )
    return Published(
        ids=_texts(roles.get("ids"), turns, names, path) or {},
        speakers={
            names[key]: [_speaker(key, value, path) for value in _list(roles["speakers"], key, path, count)]
            for key, count in turns.items()
        },
        labels={names[key]: found for key, found in labels.items()},
        sentences=_texts(roles["sentences"], turns, names, path) or {},
        split=_split(roles, names),
        streams=[
            replace(stream, vectors={names[key]: found for key, found in _vectors(stream, turns)})
            for stream in streams.values()
        ],
    )


def _roles(value: Any, path: Path) -> dict[str, Any]:
    if isinstance(value, tuple | list):
        for layout in LAYOUTS:
            roles = layout.split()
            if len(roles) == len(value) and _fits(found := dict(zip(roles, value, strict=True))):
                return found
        kind = f"a {type(value).__name__} of {len(value)} entries"
    else:
        kind = f"a {type(value).__name__}"
    raise UserError(
        f"{path}: unknown layout ({kind}); use DialogueRNN's, MMGCN's, COSMIC's or MultiEMO's files"
    )


def _fits(roles: dict[str, Any]) -> bool:
    labels, speakers, train, test = (roles[role] for role in ("labels", "speakers", "train", "test"))
    if not isinstance(labels, dict) or not isinstance(speakers, dict) or not labels:
        return False
    lists = [train, test, *([roles["val"]] if "val" in roles else [])]
    keys = [key for ids in lists if isinstance(ids, list | tuple | set | np.ndarray) for key in ids]
    return (
        len(keys) > 0
        and all(isinstance(ids, list | tuple | set | np.ndarray) for ids in lists)
        and all(isinstance(key, str | int | np.integer) and key in labels and key in speakers for key in keys)
    )


def _is_features(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(turns, list | np.ndarray) and len(turns) for turns in value.values()
    )


def _vectors(stream: Stream, turns: dict[Any, int]) -> Iterator[tuple[Any, list[np.ndarray]]]:
    """Yield (dialogue, [P] f4 per turn).

    Raises:
        UserError: if a dialogue has not one vector per label, or vectors differ in length.
    """
    width = None
    room = stream.source.stat().st_size
    for key, count in turns.items():
        where = f"{stream.source}: {stream.name} features of dialogue {key}"
        try:
            # Values beyond f4 become infinite, which the row's status reports.
            vectors = []
            with np.errstate(over="ignore"):
                for value in stream.vectors[key]:
                    # Counted before the copy: the pickle may store one vector for every turn.
                    room -= np.size(value) if isinstance(value, np.ndarray) else len(value)
                    if room < 0:
                        raise UserError(
                            f"{stream.source}: refused: it has more numbers than bytes, because it repeats vectors; "
                            f"{AGAIN}"
                        )
                    vectors.append(_vector(value))
        except KeyError:
            raise UserError(f"{where}: missing; {AGAIN}") from None
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{where}: expected lists of numbers; {AGAIN}") from None
        if len(vectors) != count:
            raise UserError(f"{where}: {len(vectors)} vectors for {count} labels; {AGAIN}")
        for vector in vectors:
            width = vector.shape if width is None else width
            if vector.ndim != 1 or vector.shape != width or not vector.size:
                raise UserError(f"{where}: a vector has the shape {vector.shape}, others {width}; {AGAIN}")
        yield key, vectors


def _vector(value: Any) -> np.ndarray:
    """Convert an array or a flat list of numbers to [P] f4; nested lists are refused because they may be recursive."""
    if isinstance(value, list | tuple) and not all(isinstance(x, int | float | np.number) for x in value):
        raise TypeError("not a list of numbers")
    found = np.asarray(value)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"an array of {found.dtype}")
    return found.astype(np.float32)


def _list(values: dict[Any, Any], key: Any, path: Path, count: int | None = None) -> list[Any]:
    found = values[key]
    if not isinstance(found, list | tuple | np.ndarray) or (count is not None and len(found) != count):
        raise UserError(
            f"{path}: dialogue {key}: labels and speakers must be lists of the same length; {AGAIN}"
        )
    return list(found)


def _texts(
    values: Any, turns: dict[Any, int], names: dict[Any, str], path: Path
) -> dict[str, list[str]] | None:
    """Return {dialogue: strings}; None if `values` lacks a string for some dialogue or turn.

    Raises:
        UserError: if a string is longer than MAX_TEXT, or repeated strings exceed SHARED times the file's size.
    """
    if not isinstance(values, dict):
        return None
    found = {}
    room = SHARED * path.stat().st_size
    for key, count in turns.items():
        texts = values.get(key)
        if not isinstance(texts, list | tuple) or len(texts) != count:
            return None
        if not all(isinstance(text, str) for text in texts):
            return None
        found[names[key]] = checked(texts, room, str(path), f"dialogue {names[key]}")
        room -= sum(map(len, texts))
    return found


def _whole(value: Any, key: Any, path: Path) -> int:
    if isinstance(value, int | np.integer) and 0 <= value < MAX_LABELS:
        return int(value)
    raise UserError(
        f"{path}: dialogue {key}: a label is not a whole number from 0 to {MAX_LABELS - 1}; {AGAIN}"
    )


def _name(key: Any) -> str:
    return key if isinstance(key, str) else f"dia{int(key):04}"


def _speaker(key: Any, value: Any, path: Path) -> str:
    """Return a speaker's name.

    IEMOCAP's M and F become Ses01M, …. Numbers and one-hot vectors become dia0012P0, dia0012P1, …, names within the
    dialogue.
    """
    if isinstance(value, str) and len(value) <= MAX_NAME:
        return f"{key[:5]}{value}" if iemocap.is_dialogue(str(key)) else value
    if isinstance(value, int | np.integer):
        return f"{_name(key)}P{int(value)}"
    try:
        if isinstance(value, str) or len(value) > MAX_LABELS:
            raise ValueError("a very long name, or more parties than a dialogue has")
        return f"{_name(key)}P{int(np.argmax(_vector(value)))}"
    except (TypeError, ValueError):
        raise UserError(
            f"{path}: dialogue {key}: a speaker is neither a name nor a one-hot vector; {AGAIN}"
        ) from None


def _ordered(ids: Iterable[Any]) -> list[Any]:
    """Return IEMOCAP's ids sorted, as MultiEMO does, because a set has no order; MELD's in the file's order."""
    found = list(ids)
    named = isinstance(ids, set) or all(isinstance(key, str) for key in found)
    return sorted(found, key=_name) if named else found


def _split(roles: dict[str, Any], names: dict[Any, str]) -> dict[str, str]:
    """Return the file's split; if it has no val list, MultiEMO's: 5% of the train ids, shuffled with seed 2023."""
    split = {names[key]: "train" for key in roles["train"]}
    split |= {names[key]: "test" for key in roles["test"]}
    if "val" in roles:
        return split | {names[key]: "val" for key in roles["val"]}
    train = _ordered(roles["train"])
    order = np.arange(len(train))
    np.random.RandomState(VAL_SEED).shuffle(order)
    return split | {names[train[i]]: "val" for i in order[: int(VAL_SHARE * len(train))]}
