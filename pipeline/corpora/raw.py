"""What every importer needs: raw text files read strictly, and rows that remember where they come from.

Raw files come from elsewhere. They are decoded as UTF-8 (UTF-16 where their first two bytes say so) or refused with the
line, only regular files are opened (a named pipe would wait for ever), and no path that a row contains is followed out
of its folder. A link inside the folder is followed, since its owner put it there.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline import folders
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.names import is_inside
from pipeline.params import CorpusParams
from pipeline.tables.schema import LABEL_COLUMNS, SPLITS

MAX_TEXT, MAX_NAME, MAX_FILE_NAME = 20_000, 200, 255
# What people call the splits in names of files and folders.
SPLIT_WORDS = {
    "train": "train", "val": "val", "valid": "val", "dev": "val", "test": "test", "eval": "test",
}  # fmt: skip
Tables = tuple[pd.DataFrame, pd.DataFrame]
CsvRow = tuple[str, dict[str, str]]
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_SEPARATOR = re.compile(r'"?sep=([,;\t])"?[^\r\n]*(?:\r\n?|\n)')  # a line that Excel reads and writes
_COLUMNS = ("utterance", "dialogue", "speaker", "session", "text", "media", "start", "end", "place", "stated")


class NoAnnotation(UserError):
    """The folder holds none of a corpus's annotation files; another one may."""


@dataclass(frozen=True, slots=True)
class Row:
    """One utterance as a raw file gives it.

    Attributes:
        place: `FILE:LINE`.
        order: sorts it within its dialogue.
        stated: seconds that the file says its own media last, or None.
    """

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
    stated: float | None = None


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
    """A text file, with or without a byte order mark, its line ends as they are.

    Raises:
        UserError: not a regular file, unreadable, not UTF-8 or marked UTF-16, or binary (names the line).
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    encoding = "UTF-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "UTF-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: not {encoding} (byte {data[error.start]:#04x}); convert the file, for instance with "
            "`iconv -f cp1252 -t utf-8`"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(
            f"{path}:{line}: holds a zero byte, so it is no text, or UTF-16 without its mark; convert the file, for "
            "instance with `iconv -f utf-16le -t utf-8`"
        )
    return text


def media_path(cell: str) -> str:
    """A `media` cell with `/` between its parts, also where Windows wrote `\\`, and without `./`."""
    return PurePosixPath(cell.replace("\\", "/")).as_posix() if cell else ""


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
    """(place, row) of a csv file with a header, as spreadsheets write it: commas, semicolons or tabs between the
    values, a line `sep=;` before the header, empty rows, and empty columns at the right.

    With `optional` those columns are empty where the file lacks them, and others are errors; without it,
    columns beyond the needed ones are ignored.

    Raises:
        UserError: a column is missing, unknown or there twice, a row has more or fewer values than the
            header, or is badly quoted.
    """
    csv.field_size_limit(sys.maxsize)
    text = read_text(path)
    said = _SEPARATOR.match(text)
    delimiter = said[1] if said else max(",;\t", key=re.match(r"[^\r\n]*", text)[0].count)  # type: ignore[index]
    # Not splitlines(), which also cuts at U+2028, U+0085 and others that are text here.
    table = io.StringIO(text[said.end() if said else 0 :], newline="")
    reader = csv.reader(table, strict=True, delimiter=delimiter)
    above = line = 1 if said else 0
    try:
        header = _header(next(reader, []), needed, optional, f"{path}:{line + 1}")
        defaults = dict.fromkeys(optional or (), "")
        line = above + reader.line_num
        for values in reader:
            place = f"{path}:{line + 1}"
            line = above + reader.line_num
            while len(values) > len(header) and not values[-1]:
                values.pop()
            if len(values) == len(header):
                if any(map(str.strip, values)):
                    yield place, {**defaults, **dict(zip(header, values, strict=True))}
            elif values:
                raise UserError(
                    f"{place}: {len(values)} values, but the header has {len(header)} columns; a text that holds a "
                    f"{_DELIMITERS[delimiter]} needs quotes around it"
                )
    except csv.Error as error:
        raise UserError(f"{path}:{line + 1}: not a well-formed csv row: {error}") from None


def _header(names: list[str], needed: Sequence[str], optional: Sequence[str] | None, place: str) -> list[str]:
    spelt = {name.casefold(): name for name in (*needed, *(optional or ()))}
    header = [spelt.get(name.strip().casefold(), name.strip()) for name in names]
    while header and not header[-1]:
        header.pop()
    if missing := [name for name in needed if name not in header]:
        raise UserError(
            f"{place}: no column {', '.join(missing)}; there are {', '.join(header)[:200] or 'none'}"
        )
    known = {*needed, *(header if optional is None else optional)}
    if unknown := [name or "(no name)" for name in header if name not in known]:
        named = ", ".join(unknown)[:200]
        raise UserError(f"{place}: unknown columns {named}; known are {', '.join(sorted(known))}")
    if len(set(header)) < len(header):
        raise UserError(f"{place}: a column is there twice: {', '.join(header)[:200]}")
    return header


def tables(rows: Iterable[Row], corpus: CorpusParams, problems: Problems) -> Tables:
    """Utterances and labels, sorted by dialogue, then `order`.

    Utterances have all columns but `media_hash`, `media` as spelt on disk, and `place` and `stated` of their rows.

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
    frame = frame.astype({"start": float, "end": float, "stated": float})
    frame["media"] = frame["media"].map(folders.spelt(frame["media"].unique(), media_root(corpus.root)))
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
        why = f"is not in corpus.labels ({', '.join(corpus.labels)})"
        problems.add(row.place, "emotion", row.emotion, why)
    if len(row.text) > MAX_TEXT:
        problems.add(row.place, "text", row.text, f"{len(row.text)} characters; an unclosed quote?")
    if not is_inside(row.media):
        problems.add(row.place, "media", row.media, "must be a relative path that stays inside corpus.root")
    try:
        if max(len(part.encode()) for part in row.media.split("/")) > MAX_FILE_NAME:
            problems.add(row.place, "media", row.media, "is longer than a file's name can be")
    except UnicodeEncodeError:
        problems.add(row.place, "media", row.media, "has a name that is no text in UTF-8; rename the file")
    for field in ("start", "end"):
        seconds = getattr(row, field)
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            problems.add(row.place, field, str(seconds), "must be seconds from 0 up")
    if row.start is not None and row.end is not None and row.end <= row.start:
        problems.add(row.place, "end", str(row.end), f"is not after start={row.start}")
