"""Shared code of the importers: strict reading of raw text files, and rows that keep their file and line.

Raw files are untrusted. A file is decoded as UTF-8, or as UTF-16 if it begins with that byte order mark; otherwise the
error names the line. Only regular files are opened, because reading a named pipe could block forever. A path in a row
may not leave its folder. Links inside the folder are followed, because its owner created them.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline import folders, fragments
from pipeline.corpora.header import read_header
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.messages import Problems, listed
from pipeline.params import CorpusParams
from pipeline.tables.schema import LABEL_COLUMNS, SPLITS
from pipeline.tables.target import Target, target_of

MAX_TEXT, MAX_NAME, MAX_FILE_NAME = 20_000, 200, 255
# Names of the splits in file and folder names.
SPLIT_WORDS = {
    "train": "train", "val": "val", "valid": "val", "dev": "val", "test": "test", "eval": "test",
}  # fmt: skip
Tables = tuple[pd.DataFrame, pd.DataFrame]
CsvRow = tuple[str, dict[str, str]]
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_SEPARATOR = re.compile(r'"?sep=([,;\t])"?[^\r\n]*(?:\r\n?|\n)')  # Excel's first line
_COLUMNS = (
    "utterance", "dialogue", "speaker", "session", "text", "media", "audio", "start", "end", "place", "stated",
)  # fmt: skip


class NoAnnotation(UserError):
    """The folder contains no annotation files of the corpus."""


@dataclass(frozen=True, slots=True)
class Row:
    """One utterance of a raw file.

    Attributes:
        place: `FILE:LINE`.
        order: the sort key within the dialogue.
        emotion: the annotation, as pipeline/tables/target.py writes it.
        stated: the media's duration in seconds according to the raw file, or None.
        values: the annotated numbers by name, None where the raw file has none for this utterance.
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
    audio: str = ""
    start: float | None = None
    end: float | None = None
    session: str = ""
    stated: float | None = None
    values: Mapping[str, float | None] = dataclasses.field(default_factory=dict)


def find(root: Path, candidates: Iterable[str], what: str) -> Path:
    """Return the first of `candidates` (relative paths) that is a file under `root`.

    Args:
        root: the folder.
        candidates: the paths to try.
        what: the name of the file in the error message.

    Raises:
        NoAnnotation: if none of them exists.
    """
    candidates = list(candidates)
    for name in candidates:
        if (root / name).is_file():
            return root / name
    raise NoAnnotation(f"{root}: no {what} here (looked for {', '.join(candidates)})")


def read_text(path: Path) -> str:
    """Read a text file, with or without a byte order mark; line ends are kept.

    Raises:
        UserError: if it is not a regular file, is unreadable, or is neither UTF-8 nor UTF-16 with a byte order mark.
            For invalid text, the message names the line.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file; check corpus.root")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
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
            f"{path}:{line}: contains a zero byte: a binary file, or UTF-16 without a byte order mark; convert the "
            "file, for instance with `iconv -f utf-16le -t utf-8`"
        )
    return text


def media_path(cell: str) -> str:
    """Return a `media` or `audio` cell with `/` instead of Windows' `\\` and without `./`."""
    return PurePosixPath(cell.replace("\\", "/")).as_posix() if cell else ""


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, line) of a text file, without line ends (LF, CRLF or CR).

    Raises:
        UserError: see `read_text`; also if a line is longer than MAX_TEXT.
    """
    for number, line in enumerate(read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if len(line) > MAX_TEXT:
            raise UserError(
                f"{path}:{number}: a line of {len(line):,} characters; check that this is an annotation file"
            )
        yield f"{path}:{number}", line


def csv_rows(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Iterator[CsvRow]:
    """Yield (place, row) of a csv file with a header, in any form that spreadsheets write.

    Values may be separated by commas, semicolons or tabs. A line `sep=;` may precede the header. Empty rows, and empty
    columns at the right, are skipped.

    Args:
        path: the csv file.
        needed: the columns that it must have.
        optional: columns that are empty if the file lacks them. An unknown column that resembles one of these is then
            an error; other unknown columns are ignored.

    Raises:
        UserError: if a column is missing, misspelt or duplicated, or a row is badly quoted or has more or fewer values
            than the header.
    """
    csv.field_size_limit(sys.maxsize)
    text = read_text(path)
    said = _SEPARATOR.match(text)
    delimiter = said[1] if said else max(",;\t", key=re.split(r"[\r\n]", text, maxsplit=1)[0].count)
    # splitlines() would also split at U+2028 and U+0085, which may occur inside a text.
    table = io.StringIO(text[said.end() if said else 0 :], newline="")
    reader = csv.reader(table, strict=True, delimiter=delimiter)
    above = line = 1 if said else 0
    try:
        header = read_header(next(reader, []), needed, optional, f"{path}:{line + 1}")
        defaults = dict.fromkeys(optional, "")
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
                    f"{place}: {len(values)} values, but the header has {len(header)} columns; put quotes around a "
                    f"text that contains a {_DELIMITERS[delimiter]}"
                )
    except csv.Error as error:
        raise UserError(f"{path}:{line + 1}: not a well-formed csv row: {error}; correct it") from None


def tables(rows: Iterable[Row], corpus: CorpusParams, problems: Problems) -> Tables:
    """Return utterances and labels, sorted by dialogue, then `order`.

    Utterances have all columns except the hashes, and `place` and `stated` of their rows. `media` and `audio` are spelt
    as on disk.

    Raises:
        UserError: if a value is invalid. The message lists the importer's `problems` and those found here.
    """
    rows = sorted(rows, key=lambda row: (row.dialogue, row.order, row.utterance))
    target = target_of(corpus)
    utterances: dict[str, str] = {}
    dialogues: dict[str, Row] = {}
    for row in rows:
        known = utterances.setdefault(row.utterance, row.place)
        if known != row.place:
            problems.add(row.place, "utterance", row.utterance, f"duplicate utterance id; first at {known}")
        first = dialogues.setdefault(row.dialogue, row)
        if first.split != row.split:
            why = f"dialogue {row.dialogue} is in {first.split} at {first.place}"
            problems.add(row.place, "split", row.split, why)
        if first.session != row.session:
            why = f"dialogue {row.dialogue} is in session {first.session!r} at {first.place}"
            problems.add(row.place, "session", row.session, why)
        _check(row, target, problems)
    problems.stop()
    if not rows:
        raise UserError(
            f"{corpus.root}: the annotation files contain no utterance whose emotion is in corpus.labels; "
            "correct corpus.labels or corpus.root"
        )
    frame = pd.DataFrame([{name: getattr(row, name) for name in _COLUMNS} for row in rows])
    frame = frame.astype({"start": float, "end": float, "stated": float})
    for field in ("media", "audio"):
        frame[field] = frame[field].map(folders.spelt(frame[field].unique(), media_root(corpus.root)))
    frame.insert(2, "turn", frame.groupby("dialogue", sort=False).cumcount())
    # csv readers treat a lone carriage return as the end of the row.
    frame["text"] = [row.text.replace("\r\n", "\n").replace("\r", "\n") for row in rows]
    return frame, _labels(rows, corpus)


def _labels(rows: Sequence[Row], corpus: CorpusParams) -> pd.DataFrame:
    known = sorted({name for row in rows for name in row.values})
    if lacking := ", ".join(name for name in corpus.values if name not in known):
        there = listed(known) or "none"
        raise UserError(f"corpus.values: {corpus.name} has no numbers named {lacking}; choose from: {there}")
    labels = pd.DataFrame([{name: getattr(row, name) for name in LABEL_COLUMNS} for row in rows])
    for name in corpus.values:
        labels[name] = pd.Series([row.values.get(name) for row in rows], dtype=float)
    return labels


def _check(row: Row, target: Target, problems: Problems) -> None:
    for field in ("utterance", "dialogue", "speaker", "session"):
        value = getattr(row, field)
        if value != value.strip() or not value.isprintable() or len(value) > MAX_NAME:
            why = f"must be printable, at most {MAX_NAME} characters, without spaces around it"
            problems.add(row.place, field, value, why)
    for field in ("utterance", "dialogue"):
        if not getattr(row, field):
            problems.add(row.place, field, "", "must not be empty")
    if row.split not in SPLITS:
        problems.add(row.place, "split", row.split, f"must be one of {', '.join(SPLITS)}")
    if why := target.mistake(row.emotion):
        problems.add(row.place, "emotion", row.emotion, why)
    if len(row.text) > MAX_TEXT:
        problems.add(row.place, "text", row.text, f"{len(row.text)} characters; an unclosed quote?")
    for field, cell in (("media", row.media), ("audio", row.audio)):
        if why := fragments.mistake(cell, field) or _name_mistake(cell):
            problems.add(row.place, field, cell, why)
    for field in ("start", "end"):
        seconds = getattr(row, field)
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            problems.add(row.place, field, str(seconds), "must be seconds, 0 or more")
    if row.start is not None and row.end is not None and row.end <= row.start:
        problems.add(row.place, "end", str(row.end), f"must be after start={row.start}")


def _name_mistake(cell: str) -> str:
    try:
        if max(len(part.encode()) for part in fragments.split(cell).file.split("/")) > MAX_FILE_NAME:
            return f"a file's name must be at most {MAX_FILE_NAME} bytes"
    except UnicodeEncodeError:
        return "the file's name is not valid UTF-8; rename the file"
    return ""
