"""Your own recordings, described by one csv file in `corpus.root`: a header, one row per utterance.

    utterance,dialogue,turn,speaker,text,media,start,end,split,emotion
    a1,anna,0,Anna,Good morning!,anna.mp4,0.4,1.9,train,joy
    a2,anna,1,Ben,"Morning, Anna.",anna.mp4,2.1,3.0,train,neutral
    a3,anna,2,Anna,Did you sleep at all?,anna.mp4,3.2,4.8,train,neutral
    a4,anna,3,Ben,No.,anna.mp4,5.0,5.6,train,sadness
    b1,bus,0,Cem,The bus has left.,bus/1.mp4,,,val,anger
    b2,bus,1,Dora,There will be another.,bus/2.mp4,,,val,neutral
    c1,call,0,Anna,Who is there?,call.wav,0,1.5,test,fear
    c2,call,1,,,call.wav,1.5,4,test,
    c3,call,2,Anna,Ben?,call.wav,4,4.6,test,surprise

`utterance`, `dialogue`, `turn` and `split` are needed; the other columns, and a `session`, where you have them.
`media` is relative to corpus.root, `start` and `end` are seconds in it (empty: the whole file), an empty
`emotion` means unlabelled. Spreadsheets' ways are read: UTF-8 or UTF-16, semicolons or tabs, empty rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import folders
from pipeline.corpora import raw
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.tables.schema import decimal, whole

NEEDED = ("utterance", "dialogue", "turn", "split")
COLUMNS = (*NEEDED, "speaker", "session", "text", "media", "start", "end", "emotion")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """The rows of the one csv file in `root`.

    Raises:
        UserError: no csv file or several, unknown columns, or bad rows.
    """
    files = folders.files(root, ".csv", below=False)
    if not files:
        raise raw.NoAnnotation(f"{root}: no .csv file here")
    if len(files) > 1:
        raise UserError(f"{root}: {', '.join(path.name for path in files)}: keep one csv file there")
    problems = Problems()
    return raw.tables(rows(files[0], NEEDED, problems), corpus, problems)


def rows(path: Path, needed: Sequence[str], problems: Problems) -> list[raw.Row]:
    """The utterances of a file that has at least the `needed` columns; a value absent from it is empty.

    Raises:
        UserError: a needed column is missing, another is unknown, or a row has too few values or too many.
    """
    found: list[raw.Row] = []
    turns: dict[tuple[str, int], str] = {}
    for place, row in raw.csv_rows(path, needed, [name for name in COLUMNS if name not in needed]):
        row = {name: value if name == "text" else value.strip() for name, value in row.items()}
        try:
            # A column of whole numbers with a gap leaves pandas as 0.0, 1.0, …
            number = whole(row["turn"].removesuffix(".0"))
        except ValueError:
            problems.add(place, "turn", row["turn"], "must be a whole number from 0 up")
            continue
        turn = (row["dialogue"], number)
        if turns.setdefault(turn, place) != place:
            problems.add(place, "turn", row["turn"], f"of dialogue {turn[0]} is at {turns[turn]} already")
        found.append(
            raw.Row(
                place=place,
                utterance=row["utterance"],
                dialogue=row["dialogue"],
                order=turn[1:],
                speaker=row["speaker"],
                text=row["text"],
                split=row["split"],
                emotion=row["emotion"],
                media=raw.media_path(row["media"]),
                start=_seconds(row["start"], "start", place, problems),
                end=_seconds(row["end"], "end", place, problems),
                session=row["session"],
            )
        )
    return found


def _seconds(value: str, field: str, place: str, problems: Problems) -> float | None:
    if not value:
        return None
    try:
        return decimal(value)
    except ValueError:
        problems.add(place, field, value, "must be seconds, such as 0.4 or 83, or empty")
        return None
