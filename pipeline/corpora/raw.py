"""What every importer needs: raw text files read strictly, and rows that remember where they come from.

Raw files come from elsewhere. They are decoded as UTF-8 or refused with the line, only regular files are
opened (a named pipe would wait for ever), and no path that a row contains is followed out of its folder.
A link inside the folder is followed, since its owner put it there.
"""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.errors import UserError
from pipeline.params import CorpusParams
from pipeline.tables.schema import LABEL_COLUMNS, LISTED, SPLITS, is_inside

MAX_TEXT, MAX_NAME, MAX_FILE_NAME = 20_000, 200, 255
Tables = tuple[pd.DataFrame, pd.DataFrame]
CsvRow = tuple[str, dict[str, str]]
_COLUMNS = ("utterance", "dialogue", "speaker", "session", "text", "media", "start", "end")


class NoAnnotation(UserError):
    """The folder holds none of a corpus's annotation files; another one may."""


@dataclass(frozen=True, slots=True)
class Row:
    """One utterance as a raw file gives it. `order` sorts it within its dialogue; `place` is `FILE:LINE`."""

    place: str
    utterance: str
    dialogue: str
    order: tuple[float, ...]
    speaker: str
    text: str
    split: str
    emotion: str
    media: str = ""
    start: float | None = None
    end: float | None = None
    session: str = ""


class Problems:
    """What is wrong with raw files, gathered so that one message names all of it."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, place: str, field: str, value: str, why: str) -> None:
        shown = value if len(value) <= 60 else value[:57] + "…"
        self.found.append(f"{place}: {field}={shown!r}: {why}")

    def stop(self) -> None:
        """Raises UserError if there was any problem."""
        if self.found:
            more = len(self.found) - LISTED
            listed = self.found[:LISTED] + [f"and {more} more"] * (more > 0)
            raise UserError(f"{len(self.found)} bad values in the raw files\n  " + "\n  ".join(listed))


def media_root(corpus: CorpusParams) -> Path:
    """The folder that `media` is relative to."""
    return Path(os.environ.get("EMOFUSE_MEDIA") or corpus.root)


def find(root: Path, candidates: Iterable[str], what: str) -> Path:
    """The first of `candidates` (relative paths) that is a file under `root`.

    Raises:
        NoAnnotation: there is none.
    """
    candidates = list(candidates)
    for name in candidates:
        if (root / name).is_file():
            return root / name
    raise NoAnnotation(f"{root}: no {what} here (looked for {', '.join(candidates)})")


def read_text(path: Path) -> str:
    """A UTF-8 text file, with or without a byte order mark, its line ends as they are.

    Raises:
        UserError: not a regular file, unreadable, or not UTF-8 (names the line).
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 (byte {data[error.start]:#04x}); convert the file, for instance with "
            "`iconv -f cp1252 -t utf-8`"
        ) from None


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(place, line) of a text file, without line ends (LF, CRLF or CR).

    Raises:
        UserError: as `read_text`, or a line that is too long to be one.
    """
    for number, line in enumerate(read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if len(line) > MAX_TEXT:
            raise UserError(f"{path}:{number}: a line of {len(line):,} characters; is this the right file?")
        yield f"{path}:{number}", line


def csv_rows(path: Path, needed: Sequence[str], optional: Sequence[str] | None = None) -> Iterator[CsvRow]:
    """(place, row) of a csv file with a header.

    With `optional` those columns are empty where the file lacks them, and others are errors; without it,
    columns beyond the needed ones are ignored.

    Raises:
        UserError: a column is missing, unknown or there twice, a row has more or fewer values than the
            header, or is badly quoted.
    """
    csv.field_size_limit(sys.maxsize)
    # Not splitlines(), which also cuts at U+2028, U+0085 and others that are text here.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    line = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in needed if name not in header]:
            raise UserError(f"{path}:1: no column {', '.join(missing)}")
        known = {*needed, *(header if optional is None else optional)}
        if unknown := [name for name in header if name not in known]:
            named = ", ".join(unknown)[:200]
            raise UserError(f"{path}:1: unknown columns {named}; known are {', '.join(sorted(known))}")
        if len(set(header)) < len(header):
            raise UserError(f"{path}:1: a column is there twice: {', '.join(header)[:200]}")
        defaults = dict.fromkeys(optional or (), "")
        line = reader.line_num
        for values in reader:
            place = f"{path}:{line + 1}"
            line = reader.line_num
            if len(values) == len(header):
                yield place, {**defaults, **dict(zip(header, values, strict=True))}
            elif values:
                raise UserError(f"{place}: {len(values)} values, but the header has {len(header)} columns")
    except csv.Error as error:
        raise UserError(f"{path}:{line + 1}: not a well-formed csv row: {error}") from None


def tables(rows: Iterable[Row], corpus: CorpusParams, problems: Problems) -> Tables:
    """Utterances (all columns but `media_hash`) and labels, sorted by dialogue, then `order`.

    Raises:
        UserError: every problem there is, those the importer found and those found here.
    """
    rows = sorted(rows, key=lambda row: (row.dialogue, row.order, row.utterance))
    utterances: dict[str, str] = {}
    dialogues: dict[str, Row] = {}
    for row in rows:
        known = utterances.setdefault(row.utterance, row.place)
        if known != row.place:
            problems.add(row.place, "utterance", row.utterance, f"is at {known} already")
        first = dialogues.setdefault(row.dialogue, row)
        if first.split != row.split:
            why = f"dialogue {row.dialogue} is in {first.split} by {first.place}"
            problems.add(row.place, "split", row.split, why)
        if first.session != row.session:
            why = f"dialogue {row.dialogue} is of session {first.session!r} by {first.place}"
            problems.add(row.place, "session", row.session, why)
        _check(row, corpus, problems)
    problems.stop()
    if not rows:
        raise UserError(f"{corpus.root}: the annotation files hold no utterance of corpus.labels")
    frame = pd.DataFrame([{name: getattr(row, name) for name in _COLUMNS} for row in rows])
    frame = frame.astype({"start": float, "end": float})
    frame.insert(2, "turn", frame.groupby("dialogue", sort=False).cumcount())
    # A carriage return alone would end the row for every csv reader.
    frame["text"] = [row.text.replace("\r\n", "\n").replace("\r", "\n") for row in rows]
    return frame, pd.DataFrame([{name: getattr(row, name) for name in LABEL_COLUMNS} for row in rows])


def _check(row: Row, corpus: CorpusParams, problems: Problems) -> None:
    for field in ("utterance", "dialogue", "speaker", "session"):
        value = getattr(row, field)
        if value != value.strip() or not value.isprintable() or len(value) > MAX_NAME:
            problems.add(
                row.place, field, value, f"must be printable, ≤ {MAX_NAME} long, no spaces around it"
            )
    for field in ("utterance", "dialogue"):
        if not getattr(row, field):
            problems.add(row.place, field, "", "must not be empty")
    if row.split not in SPLITS:
        problems.add(row.place, "split", row.split, f"must be one of {', '.join(SPLITS)}")
    if row.emotion and row.emotion not in corpus.labels:
        problems.add(
            row.place, "emotion", row.emotion, f"is not in corpus.labels ({', '.join(corpus.labels)})"
        )
    if len(row.text) > MAX_TEXT:
        problems.add(row.place, "text", row.text, f"{len(row.text)} characters; an unclosed quote?")
    if not is_inside(row.media):
        problems.add(row.place, "media", row.media, "must be a relative path that stays inside corpus.root")
    if max(len(part.encode()) for part in row.media.split("/")) > MAX_FILE_NAME:
        problems.add(row.place, "media", row.media, "is longer than a file's name can be")
    for field in ("start", "end"):
        seconds = getattr(row, field)
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            problems.add(row.place, field, str(seconds), "must be seconds from 0 up")
    if row.start is not None and row.end is not None and row.end <= row.start:
        problems.add(row.place, "end", str(row.end), f"is not after start={row.start}")
