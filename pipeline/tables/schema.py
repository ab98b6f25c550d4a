"""Read and write the two tables: data/utterances.csv and data/labels.csv (read by pipeline/tables/labels.py).

Extraction reads only the first; train and evaluate read both. A corrected label, a new split or another fold therefore
never re-runs a stream. The tables are UTF-8, RFC 4180, one row per utterance, sorted by dialogue, then turn.
utterances.csv has the columns `audio` and `audio_hash` only if the sound of some utterance has its own cell.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from pipeline import fragments
from pipeline.errors import UserError
from pipeline.messages import Problems, listed

UTTERANCES = Path("data/utterances.csv")
LABELS = Path("data/labels.csv")
UTTERANCE_COLUMNS = (
    "utterance", "dialogue", "turn", "speaker", "session", "text", "media", "start", "end", "media_hash",
)  # fmt: skip
AUDIO_COLUMNS = ("audio", "audio_hash")
LABEL_COLUMNS = ("utterance", "split", "emotion")
SPLITS = ("train", "val", "test")
N = TypeVar("N", int, float)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHOLE = re.compile("[0-9]{1,15}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


class Source(NamedTuple):
    """Where the pictures or the sound of an utterance are: a cell, the seconds in its file, and the file's sha256."""

    cell: str
    start: float | None
    end: float | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """One row of utterances.csv; `start` and `end` are seconds in `media`, None for the whole file.

    `audio` is empty if the sound is that of `media`.
    """

    utterance: str
    dialogue: str
    turn: int
    speaker: str
    session: str
    text: str
    media: str
    start: float | None
    end: float | None
    media_hash: str
    audio: str = ""
    audio_hash: str = ""

    @property
    def seen(self) -> Source:
        """Where the pictures are."""
        return Source(self.media, self.start, self.end, self.media_hash)

    @property
    def heard(self) -> Source:
        """Where the sound is. Without `t` in its cell, the sound has the same seconds as the pictures."""
        if not self.audio:
            return self.seen
        start, end = fragments.split(self.audio).span or (self.start, self.end)
        return Source(self.audio, start, end, self.audio_hash)

    @property
    def played(self) -> Source:
        """Where a person finds the utterance: the pictures, or the sound if there are none."""
        return self.seen if self.media else self.heard


def read_utterances(path: Path = UTTERANCES) -> list[Utterance]:
    """Read all utterances, in row order.

    Raises:
        UserError: if rows are invalid; one message lists them with line, column and value.
    """
    problems = Problems(str(path))
    rows: list[Utterance] = []
    seen: dict[str, int] = {}
    session_of: dict[str, str] = {}
    last: tuple[str, int] | None = None
    for line, row in rows_of(path, UTTERANCE_COLUMNS, problems, AUDIO_COLUMNS):
        at = f"line {line}"
        _check_id(row["utterance"], "utterance", at, problems)
        _check_id(row["dialogue"], "dialogue", at, problems)
        if row["utterance"] in seen:
            problems.add(
                at,
                "utterance",
                row["utterance"],
                f"duplicate utterance id; first in line {seen[row['utterance']]}",
            )
        seen[row["utterance"]] = line
        turn = _number(row["turn"], "turn", whole, at, problems)
        start = _number(row["start"], "start", decimal, at, problems) if row["start"] else None
        end = _number(row["end"], "end", decimal, at, problems) if row["end"] else None
        if start is not None and end is not None and end <= start:
            problems.add(at, "end", row["end"], f"must be after start={row['start']}")
        for field in ("media", "audio"):
            if why := fragments.mistake(row[field], field):
                problems.add(at, field, row[field], why)
            digest = f"{field}_hash"
            if row[digest] and not _SHA256.fullmatch(row[digest]):
                problems.add(at, digest, row[digest], "must be a sha256 (64 hex digits)")
        place = (row["dialogue"], turn if turn is not None else 0)
        if last is not None and place <= last:
            problems.add(
                at, "turn", row["turn"], "rows must be sorted by dialogue, then by turn, each turn once"
            )
        if session_of.setdefault(row["dialogue"], row["session"]) != row["session"]:
            problems.add(
                at,
                "session",
                row["session"],
                f"dialogue {row['dialogue']} has session {session_of[row['dialogue']]!r} in an earlier row",
            )
        last = place
        rows.append(
            Utterance(
                utterance=row["utterance"],
                dialogue=row["dialogue"],
                turn=place[1],
                speaker=row["speaker"],
                session=row["session"],
                text=row["text"],
                media=row["media"],
                start=start,
                end=end,
                media_hash=row["media_hash"],
                audio=row["audio"],
                audio_hash=row["audio_hash"],
            )
        )
    problems.stop()
    if not rows:
        raise UserError(f"{path}: no utterances; run `dvc repro prepare`, or check corpus.root")
    return rows


def write_utterances(frame: pd.DataFrame, path: Path) -> None:
    """Write utterances.csv, with AUDIO_COLUMNS if a row has an `audio` cell."""
    own = AUDIO_COLUMNS if (frame["audio"] != "").any() else ()
    write_table(frame, (*UTTERANCE_COLUMNS, *own), path)


def write_table(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Write a table in canonical form: the given columns, LF line ends, empty for None, shortest floats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.loc[:, list(columns)].to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def dialogues(utterances: Sequence[Utterance]) -> Iterator[list[Utterance]]:
    """Yield the utterances of each dialogue, in turn order, dialogues in row order."""
    group: list[Utterance] = []
    for u in utterances:
        if group and group[0].dialogue != u.dialogue:
            yield group
            group = []
        group.append(u)
    if group:
        yield group


def parties(dialogue: Sequence[Utterance]) -> list[int]:
    """Return the party number of each turn of a dialogue: speakers numbered from 0 by first appearance."""
    number: dict[str, int] = {}
    return [number.setdefault(u.speaker, len(number)) for u in dialogue]


def whole(text: str) -> int:
    """Parse a whole number, 0 or more, in ASCII digits; Python's `int` also accepts `0_4` and `٤`.

    Raises:
        ValueError: if `text` is not such a number.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def decimal(text: str) -> float:
    """Parse a decimal number in ASCII digits; Python's `float` also accepts `0_4`, `٠.٤` and `nan`.

    Raises:
        ValueError: if `text` is not such a number.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def rows_of(
    path: Path, columns: Sequence[str], problems: Problems, optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a table; a column of `optional` that the file lacks is empty.

    Raises:
        UserError: if the file is missing, is not a csv in UTF-8, lacks a column, or has another one.
    """
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            missing, extra = set(columns) - set(header), set(header) - {*columns, *optional}
            if missing or extra or len(set(header)) < len(header):
                raise UserError(
                    f"{path}: line 1: columns must be {', '.join(columns)}"
                    + (f"; missing: {listed(sorted(missing))}" if missing else "")
                    + (f"; unknown: {listed(sorted(extra))}" if extra else "")
                )
            line = reader.line_num + 1
            for values in reader:
                # Messages name the first line of a row that spans several.
                line, start = reader.line_num + 1, line
                if len(values) != len(header):
                    problems.add(
                        f"line {start}",
                        "row",
                        ",".join(values),
                        f"has {len(values)} values, not {len(header)}",
                    )
                    continue
                yield start, {**dict.fromkeys(optional, ""), **dict(zip(header, values, strict=True))}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro prepare` to make it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; run `dvc repro prepare`") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a well-formed csv: {error}; run `dvc repro prepare`") from None


def _check_id(value: str, column: str, at: str, problems: Problems) -> None:
    if not value or value != value.strip() or not value.isprintable():
        problems.add(at, column, value, "must not be empty or contain control characters or spaces around it")


def _number(value: str, column: str, kind: Callable[[str], N], at: str, problems: Problems) -> N | None:
    try:
        number = kind(value)
        if number >= 0 and math.isfinite(number):
            return number
    except ValueError:
        pass
    problems.add(at, column, value, f"must be {'a whole number' if kind is whole else 'seconds'}, 0 or more")
    return None
