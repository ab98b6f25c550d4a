"""Read data/labels.csv: the split and the annotation of every utterance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.messages import Problems
from pipeline.tables.schema import LABEL_COLUMNS, LABELS, SPLITS, Utterance, decimal, rows_of
from pipeline.tables.target import Target


def read_labels(utterances: Sequence[Utterance], target: Target, path: Path = LABELS) -> pd.DataFrame:
    """Read the columns utterance, split, emotion and those of `corpus.values`, in the utterances' order.

    `emotion` is the cell as written (pipeline/tables/target.py). A number is a float, NaN where the cell is empty.

    Raises:
        UserError: if an utterance, split, emotion or number is invalid, a row or column is missing, or a dialogue is in
            two splits.
    """
    problems = Problems(str(path))
    columns = (*LABEL_COLUMNS, *target.values)
    dialogue = {u.utterance: u.dialogue for u in utterances}
    split_of: dict[str, str] = {}
    found: dict[str, tuple[str | float, ...]] = {}
    for line, row in rows_of(path, columns, problems):
        at = f"line {line}"
        name, split, emotion = row["utterance"], row["split"], row["emotion"]
        if name not in dialogue:
            problems.add(at, "utterance", name, "is not in utterances.csv")
            continue
        if name in found:
            problems.add(at, "utterance", name, "duplicate utterance id")
        if split not in SPLITS:
            problems.add(at, "split", split, f"must be one of {', '.join(SPLITS)}")
        elif split_of.setdefault(dialogue[name], split) != split:
            problems.add(
                at,
                "split",
                split,
                f"dialogue {dialogue[name]} is in {split_of[dialogue[name]]} in an earlier row",
            )
        if why := target.mistake(emotion):
            problems.add(at, "emotion", emotion, why)
        numbers = (rating(row[column], column, at, problems) for column in target.values)
        found[name] = (split, emotion, *(math.nan if number is None else number for number in numbers))
    for u in utterances:
        if u.utterance not in found:
            problems.add("", "utterance", u.utterance, "has no row")
    problems.stop()
    return pd.DataFrame([(u.utterance, *found[u.utterance]) for u in utterances], columns=list(columns))


def rating(cell: str, column: str, at: str, problems: Problems) -> float | None:
    """Return the number in a cell of `corpus.values`, None if the cell is empty or invalid.

    Args:
        cell: the cell.
        column: its column.
        at: its file and line, for messages.
        problems: receives an invalid cell.
    """
    if not cell:
        return None
    try:
        number = decimal(cell)
        if math.isfinite(number):
            return number
    except ValueError:
        pass
    problems.add(at, column, cell, "must be a number, such as -1.5, or empty")
    return None
