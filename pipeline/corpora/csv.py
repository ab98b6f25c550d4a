"""Import your own recordings from one csv file in `corpus.root`: a header, then one row per utterance.

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

`utterance`, `dialogue` and `turn` are required; the other columns and `session` are optional. Without `split`, whole
dialogues are split at random by `corpus.split_seed` (pipeline/corpora/split.py). Other columns, such as notes, are
ignored and named; one that resembles a missing column is an error.

`media` is relative to corpus.root. `start` and `end` are seconds in that file; empty means the whole file. `audio` is
needed only if the sound is in another file than the pictures, such as that of a lapel microphone. Both cells may name a
part of their file (pipeline/fragments.py). An empty `emotion` means unlabelled; pipeline/tables/target.py describes
cells with votes (`joy:3|neutral:2`) and with several labels (`joy|surprise`). Every column that `corpus.values` names
must be there and holds numbers. The file may come from a spreadsheet:
UTF-8 or UTF-16, commas, semicolons or tabs, empty rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import folders
from pipeline.corpora import raw
from pipeline.corpora.split import drawn
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.messages import Problems, listed
from pipeline.params import CorpusParams
from pipeline.tables.labels import rating
from pipeline.tables.schema import Utterance, decimal, whole

NEEDED = ("utterance", "dialogue", "turn")
COLUMNS = (*NEEDED, "speaker", "session", "text", "media", "audio", "start", "end", "split", "emotion")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the only csv file in `root`.

    Raises:
        UserError: if there is no csv file or more than one, a column is unknown, or a row is invalid.
    """
    path, problems = _file(root), Problems()
    found = rows(path, (*NEEDED, *corpus.values), corpus.values, problems)
    if found and not any(row.split for row in found):
        found = drawn(found, corpus.split_seed, str(path))
    return raw.tables(found, corpus, problems)


def notes(corpus: CorpusParams) -> list[str]:
    """Return notes on ignored columns and on a random split; empty if there are none."""
    for root in (Path(corpus.root), media_root(corpus.root)):
        if folders.files(root, ".csv", below=False):
            path = _file(root)
            found = ignored(path, corpus.values)
            if not any(row["split"] for _, row in raw.csv_rows(path, NEEDED, COLUMNS)):
                found.append(
                    f"{path}: no split is given, so whole dialogues were split at random by corpus.split_seed="
                    f"{corpus.split_seed}, stratified by emotion; a column `split` (train, val, test) overrides this"
                )
            return found
    return []


def ignored(path: Path, values: Sequence[str] = ()) -> list[str]:
    """Return a note on the columns of a csv file other than COLUMNS and `values`; empty if there are none."""
    _, row = next(raw.csv_rows(path, NEEDED, COLUMNS), ("", {}))
    names = [name or "(no name)" for name in row if name not in (*COLUMNS, *values)]
    return [f"{path}: ignored columns: {listed(names)}"] * bool(names)


def cells(utterance: Utterance) -> dict[str, str]:
    """Return an utterance's cells of a csv file that this module reads: all columns but `split` and `emotion`."""
    return {
        "utterance": utterance.utterance,
        "dialogue": utterance.dialogue,
        "turn": str(utterance.turn),
        "speaker": utterance.speaker,
        "session": utterance.session,
        "text": utterance.text,
        "media": utterance.media,
        "audio": utterance.audio,
        "start": "" if utterance.start is None else repr(utterance.start),
        "end": "" if utterance.end is None else repr(utterance.end),
    }


def rows(path: Path, needed: Sequence[str], values: Sequence[str], problems: Problems) -> list[raw.Row]:
    """Return the utterances of a csv file; columns that the file lacks are empty.

    Args:
        path: the csv file.
        needed: the columns that it must have.
        values: the columns of numbers.
        problems: receives the invalid values.

    Raises:
        UserError: if a needed column is missing, an unknown column resembles a missing one, or a row has too few or too
            many values.
    """
    found: list[raw.Row] = []
    turns: dict[tuple[str, int], str] = {}
    optional = [name for name in (*COLUMNS, *values) if name not in needed]
    for place, row in raw.csv_rows(path, needed, optional):
        row = {name: value if name == "text" else value.strip() for name, value in row.items()}
        try:
            # pandas writes a column of whole numbers with a gap as 0.0, 1.0, …
            number = whole(row["turn"].removesuffix(".0"))
        except ValueError:
            problems.add(place, "turn", row["turn"], "must be a whole number, 0 or more")
            continue
        turn = (row["dialogue"], number)
        if turns.setdefault(turn, place) != place:
            problems.add(
                place, "turn", row["turn"], f"duplicate turn of dialogue {turn[0]}; first at {turns[turn]}"
            )
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
                audio=raw.media_path(row["audio"]),
                start=_seconds(row["start"], "start", place, problems),
                end=_seconds(row["end"], "end", place, problems),
                session=row["session"],
                values={name: rating(row[name], name, place, problems) for name in values},
            )
        )
    return found


def _file(root: Path) -> Path:
    files = folders.files(root, ".csv", below=False)
    if not files:
        raise raw.NoAnnotation(f"{root}: no .csv file here")
    if len(files) > 1:
        raise UserError(f"{root}: {listed(path.name for path in files)}: more than one csv file; keep one")
    return files[0]


def _seconds(value: str, field: str, place: str, problems: Problems) -> float | None:
    if not value:
        return None
    try:
        return decimal(value)
    except ValueError:
        problems.add(place, field, value, "must be seconds, such as 0.4 or 83, or empty")
        return None
