"""The tables of the built-in corpus, which `python -m pipeline.demo` makes (pipeline/demo)."""

from __future__ import annotations

from pathlib import Path

from pipeline.corpora import raw
from pipeline.messages import Problems
from pipeline.params import CorpusParams

ANNOTATIONS = "annotations.csv"
COLUMNS = ("utterance", "dialogue", "turn", "speaker", "session", "text", "media", "split", "emotion")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """The corpus in `root` as utterances (all columns but media_hash) and labels.

    Raises:
        UserError: no annotations.csv, or bad rows in it.
    """
    problems = Problems()
    path = raw.find(root, [ANNOTATIONS], "demo corpus (`python -m pipeline.demo` makes it)")
    rows = []
    for place, row in raw.csv_rows(path, COLUMNS):
        if not row["turn"].isdecimal():
            problems.add(place, "turn", row["turn"], "must be a whole number from 0")
            continue
        rows.append(
            raw.Row(
                place=place,
                utterance=row["utterance"],
                dialogue=row["dialogue"],
                order=(int(row["turn"]),),
                speaker=row["speaker"],
                text=row["text"],
                split=row["split"],
                emotion=row["emotion"],
                media=row["media"],
                session=row["session"],
            )
        )
    return raw.tables(rows, corpus, problems)
