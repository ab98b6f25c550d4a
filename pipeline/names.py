"""Validate names from files that become paths, stages or arguments.

These are the names of streams (params.yaml, model records, feature files), corpora, weights, labels and columns. The
models of params.yaml and of model records use them as types. `is_inside` checks paths of media.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

# Words of `python -m extract` and `train.streams`; a stream with such a name could not be selected.
RESERVED = ("status", "retry", "clean", "none")
# Columns of the tables and of a csv of one's own; a column of numbers with such a name could not be told apart.
COLUMNS = (
    "utterance", "dialogue", "turn", "speaker", "session", "text", "media", "audio", "start", "end", "split", "emotion",
)  # fmt: skip
# Bytes; with a suffix such as `.damaged-1.sqlite` the name still fits the 255 bytes of a file's name.
LONGEST = 100


def stream(name: str) -> str:
    """Return `name` if it is a valid stream's name.

    Raises:
        ValueError: if it is not a plain file name and DVC stage name, or is a word of the command line.
    """
    if name in RESERVED:
        raise _wrong(f"is a word of the command line ({', '.join(RESERVED)}); choose another name")
    if not name or not all(c.isalnum() or c in "-_" for c in name) or name.startswith("-"):
        raise _wrong("a stream's name may contain only letters, digits, - and _, and may not begin with -")
    return _short(name)


def stream_or_none(name: str) -> str:
    """Return `name` if it is a valid stream's name or `none`.

    Raises:
        ValueError: see `stream`.
    """
    return name if name == "none" else stream(name)


def file(name: str) -> str:
    """Return `name` if it is a plain file name: printable and without folders.

    Raises:
        ValueError: if it is not.
    """
    if name in ("", ".", "..") or not name.isprintable() or any(c in "/\\" for c in name):
        raise _wrong("must be a plain file name, without folders")
    return _short(name)


def label(name: str) -> str:
    """Return `name` if it is a valid emotion's name, which appears in tables and reports.

    Raises:
        ValueError: if it is empty, unprintable or longer than LONGEST bytes.
    """
    if not name or not name.isprintable():
        raise _wrong("must be a word, without line breaks or other control characters")
    return _short(name)


def column(name: str) -> str:
    """Return `name` if it is a valid name of a column of numbers.

    Raises:
        ValueError: if it is not a valid label, or is another column of the tables.
    """
    if name in COLUMNS:
        raise _wrong(f"is another column of the tables ({', '.join(COLUMNS)}); rename the column")
    return label(name)


def names_mistake(target: str, labels: Sequence[str], values: Sequence[str]) -> str:
    """Return why a corpus's labels and values do not fit its target, or an empty string.

    Args:
        target: `corpus.target`.
        labels: `corpus.labels`.
        values: `corpus.values`.
    """
    for field, names in (("labels", labels), ("values", values)):
        if len(set(names)) < len(names):
            return f"corpus.{field}={names}: duplicate {field[:-1]}; keep each {field[:-1]} once"
    if target == "values":
        return (
            "" if values else "corpus.values=[]: corpus.target=values needs the names of columns of numbers"
        )
    if len(labels) < 2:
        return f"corpus.labels={labels}: corpus.target={target} needs at least 2 labels; add them"
    wrong = [name for name in labels if "|" in name]
    if target in ("soft", "multi") and wrong:
        return f"corpus.labels={wrong}: corpus.target={target} separates labels by `|`; rename the label"
    return ""


def is_inside(media: str) -> bool:
    """Return whether a media path is relative and stays inside its folder."""
    absolute = media.startswith("/") or re.match("[A-Za-z]:[/\\\\]", media)
    return not absolute and ".." not in media.split("/") and "\0" not in media and "\\" not in media


def _short(name: str) -> str:
    if len(name.encode()) > LONGEST:
        raise _wrong(f"must be at most {LONGEST} bytes")
    return name


def _wrong(why: str) -> PydanticCustomError:
    # A ValueError whose text pydantic shows unchanged.
    return PydanticCustomError("name", why)


StreamName = Annotated[str, AfterValidator(stream)]
StreamOrNone = Annotated[str, AfterValidator(stream_or_none)]
FileName = Annotated[str, AfterValidator(file)]
Label = Annotated[str, AfterValidator(label)]
Column = Annotated[str, AfterValidator(column)]
