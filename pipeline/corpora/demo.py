"""Import the built-in corpus, which `python -m pipeline.demo` generates."""

from __future__ import annotations

from pathlib import Path

from pipeline.corpora import raw
from pipeline.demo.annotators import annotation, ratings
from pipeline.messages import Problems
from pipeline.params import CorpusParams

ANNOTATIONS = "annotations.csv"
COLUMNS = ("utterance", "dialogue", "turn", "speaker", "session", "text", "media", "split", "emotion")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the corpus in `root`: utterances (all columns except media_hash) and labels.

    Raises:
        UserError: if annotations.csv is missing or has invalid rows.
    """
    problems = Problems()
    path = raw.find(root, [ANNOTATIONS], "demo corpus (run `python -m pipeline.demo` to generate it)")
    rows = []
    for place, row in raw.csv_rows(path, COLUMNS):
        if not row["turn"].isdecimal():
            problems.add(place, "turn", row["turn"], "must be a whole number, 0 or more")
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
                emotion=annotation(corpus.target, row["utterance"], row["emotion"]),
                media=row["media"],
                session=row["session"],
                values=ratings(row["utterance"], row["emotion"]),
            )
        )
    return raw.tables(rows, corpus, problems)
