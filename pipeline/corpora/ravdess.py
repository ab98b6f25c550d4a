"""Import RAVDESS's speech clips as distributed, from the names of the files. Each clip is a dialogue of one turn.

    Actor_18/03-01-05-01-02-01-18.wav      at any depth: modality, speech or song, emotion, intensity, statement,
                                           repetition, actor
    Actor_18/01-01-05-01-02-01-18.mp4      the same take with pictures (01) or with pictures alone (02)

Livingstone and Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS ONE 13(5), 2018. Files
of one take form one utterance: pictures from the .mp4, sound from the .wav. Song (02) is skipped. A session is a group
of four actors (1 to 4, 5 to 8, …), so that `train.fold` holds out four actors; actors 17 to 20 are `val` and 21 to 24
are `test`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from pipeline.corpora import raw
from pipeline.corpora.clips import clips
from pipeline.messages import Problems
from pipeline.params import CorpusParams

LANGUAGES = ("English",)
FAULTS = (
    "All clips have one of two sentences, so text says nothing about the emotion.",
    "Copies on other sites contain every file twice.",
)
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
BOTH, PICTURES, SOUND = "01", "02", "03"
GROUP = 4
SPLITS = {5: "val", 6: "test"}  # session → split; the others are train
_REST = r"-0[1-8]-0[12]-0[12]-0[12]-(?:0[1-9]|1[0-9]|2[0-4])"
_SPEECH = re.compile(rf"(0[123])-(01{_REST})")
_SONG = re.compile(rf"0[123]-02{_REST}")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the speech clips of 24 actors: 1,440 if none is missing.

    Raises:
        UserError: if there is no clip, a file's name has another form, or two files have one name.
    """
    problems = Problems()
    takes: dict[str, dict[str, Path]] = defaultdict(dict)
    example = "Actor_01/03-01-01-01-01-01-01.wav"
    for path, name in clips(root, (".wav", ".mp4"), _SPEECH, example, problems, _SONG).items():
        takes[name[2]][name[1]] = path
    return raw.tables([_row(root, take, files) for take, files in takes.items()], corpus, problems)


def published(corpus: CorpusParams) -> dict[str, dict[str, int]]:
    """Return the counts of the paper's speech clips, {"all": {emotion: clips}}."""
    return {"all": {emotion: 96 if emotion == "neutral" else 192 for emotion in EMOTIONS.values()}}


def _row(root: Path, take: str, files: dict[str, Path]) -> raw.Row:
    _, emotion, _, statement, _, actor = take.split("-")
    cells = {modality: path.relative_to(root).as_posix() for modality, path in files.items()}
    pictures = cells.get(BOTH) or cells.get(PICTURES, "")
    sound = cells.get(SOUND, "")
    session = (int(actor) - 1) // GROUP + 1
    return raw.Row(
        place=str(next(iter(files.values()))),
        utterance=take,
        dialogue=take,
        order=(0,),
        speaker=f"actor {int(actor)}",
        text=STATEMENTS[statement],
        split=SPLITS.get(session, "train"),
        emotion=EMOTIONS[emotion],
        media=pictures or sound,
        audio=sound if pictures else "",
        session=str(session),
    )
