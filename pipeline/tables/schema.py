"""The two tables everything else is built on: data/utterances.csv and data/labels.csv.

Extraction reads the first alone; train and evaluate read both. So a corrected label, a new split or a fold
never runs a stream again. UTF-8, RFC 4180, one row per utterance, sorted by dialogue then turn.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.names import is_inside

UTTERANCES = Path("data/utterances.csv")
LABELS = Path("data/labels.csv")
UTTERANCE_COLUMNS = (
    "utterance", "dialogue", "turn", "speaker", "session", "text", "media", "start", "end", "media_hash",
)  # fmt: skip
LABEL_COLUMNS = ("utterance", "split", "emotion")
SPLITS = ("train", "val", "test")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHOLE = re.compile("[0-9]{1,15}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One row of utterances.csv. `start` and `end` are seconds inside `media`, None for the whole file."""

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


def read_utterances(path: Path = UTTERANCES) -> list[Utterance]:
    """All utterances in row order.

    Raises:
        UserError: lists the bad rows (file, line, column, value), all at once.
    """
    problems = Problems(str(path))
    rows: list[Utterance] = []
    seen: dict[str, int] = {}
    session_of: dict[str, str] = {}
    last: tuple[str, int] | None = None
    for line, row in _rows(path, UTTERANCE_COLUMNS, problems):
        at = f"line {line}"
        _check_id(row["utterance"], "utterance", at, problems)
        _check_id(row["dialogue"], "dialogue", at, problems)
        if row["utterance"] in seen:
            problems.add(
                at, "utterance", row["utterance"], f"already stands in line {seen[row['utterance']]}"
            )
        seen[row["utterance"]] = line
        turn = _number(row["turn"], "turn", whole, at, problems)
        start = _number(row["start"], "start", decimal, at, problems) if row["start"] else None
        end = _number(row["end"], "end", decimal, at, problems) if row["end"] else None
        if start is not None and end is not None and end <= start:
            problems.add(at, "end", row["end"], f"is not after start={row['start']}")
        if not is_inside(row["media"]):
            problems.add(at, "media", row["media"], "must be a relative path that stays inside corpus.root")
        if row["media_hash"] and not _SHA256.fullmatch(row["media_hash"]):
            problems.add(at, "media_hash", row["media_hash"], "is no sha256 (64 hex digits)")
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
                f"dialogue {row['dialogue']} is of {session_of[row['dialogue']]!r}",
            )
        last = place
        rows.append(Utterance(**{**row, "turn": place[1], "start": start, "end": end}))  # type: ignore[arg-type]
    problems.stop()
    if not rows:
        raise UserError(f"{path}: no utterances; run `dvc repro prepare`, or check corpus.root")
    return rows


def read_labels(utterances: Sequence[Utterance], labels: Sequence[str], path: Path = LABELS) -> pd.DataFrame:
    """Columns utterance, split, emotion (the label's name, empty where unlabelled), in the utterances' order.

    Raises:
        UserError: unknown utterances, splits or emotions, missing rows, a dialogue in two splits.
    """
    problems = Problems(str(path))
    dialogue = {u.utterance: u.dialogue for u in utterances}
    split_of: dict[str, str] = {}
    found: dict[str, tuple[str, str]] = {}
    for line, row in _rows(path, LABEL_COLUMNS, problems):
        at = f"line {line}"
        name, split, emotion = row["utterance"], row["split"], row["emotion"]
        if name not in dialogue:
            problems.add(at, "utterance", name, "is not in utterances.csv")
            continue
        if name in found:
            problems.add(at, "utterance", name, "stands here twice")
        if split not in SPLITS:
            problems.add(at, "split", split, f"must be one of {', '.join(SPLITS)}")
        elif split_of.setdefault(dialogue[name], split) != split:
            problems.add(
                at, "split", split, f"dialogue {dialogue[name]} is in {split_of[dialogue[name]]} already"
            )
        if emotion and emotion not in labels:
            problems.add(
                at, "emotion", emotion, f"must be one of corpus.labels ({', '.join(labels)}), or empty"
            )
        found[name] = (split, emotion)
    for u in utterances:
        if u.utterance not in found:
            problems.add("", "utterance", u.utterance, "has no row")
    problems.stop()
    rows = [(u.utterance, *found[u.utterance]) for u in utterances]
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS))


def write_table(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Write a table in its one canonical form: given columns, LF line ends, empty for None, shortest floats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.loc[:, list(columns)].to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def dialogues(utterances: Sequence[Utterance]) -> Iterator[list[Utterance]]:
    """The utterances of each dialogue, in turn order, dialogues in row order."""
    group: list[Utterance] = []
    for u in utterances:
        if group and group[0].dialogue != u.dialogue:
            yield group
            group = []
        group.append(u)
    if group:
        yield group


def parties(dialogue: Sequence[Utterance]) -> list[int]:
    """Party numbers of a dialogue's turns, by first appearance of the speaker, without a cap."""
    number: dict[str, int] = {}
    return [number.setdefault(u.speaker, len(number)) for u in dialogue]


def whole(text: str) -> int:
    """Return the whole number from 0 up that a cell spells; Python's own `int` also reads `0_4` and `٤`.

    Raises:
        ValueError: it spells none.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def decimal(text: str) -> float:
    """Return the number that a cell spells; Python's own `float` also reads `0_4`, `٠.٤` and `nan`.

    Raises:
        ValueError: it spells none.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    return float(text)


def _rows(path: Path, columns: Sequence[str], problems: Problems) -> Iterator[tuple[int, dict[str, str]]]:
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if sorted(header) != sorted(columns):
                missing, extra = set(columns) - set(header), set(header) - set(columns)
                raise UserError(
                    f"{path}: line 1: columns must be {', '.join(columns)}"
                    + (f"; missing: {', '.join(sorted(missing))}" if missing else "")
                    + (f"; unknown: {', '.join(sorted(extra))}" if extra else "")
                )
            line = reader.line_num + 1
            for values in reader:
                # A row with line breaks inside is named by its first line.
                line, start = reader.line_num + 1, line
                if len(values) != len(header):
                    problems.add(
                        f"line {start}",
                        "row",
                        ",".join(values),
                        f"has {len(values)} values, not {len(header)}",
                    )
                    continue
                yield start, dict(zip(header, values, strict=True))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro prepare` makes it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a well-formed csv: {error}") from None


def _check_id(value: str, column: str, at: str, problems: Problems) -> None:
    if not value or value != value.strip() or not value.isprintable():
        problems.add(at, column, value, "must be non-empty, without control characters or spaces around it")


def _number(value: str, column: str, kind: Callable[[str], float], at: str, problems: Problems):  # type: ignore[no-untyped-def]
    try:
        number = kind(value)
        if number >= 0 and math.isfinite(number):
            return number
    except ValueError:
        pass
    problems.add(at, column, value, f"must be {'a whole number' if kind is whole else 'seconds'} from 0 up")
    return None
