"""Import CREMA-D as distributed: acted clips from the names of the files, and the listeners' votes. No dialogues.

    AudioWAV/1001_IEO_ANG_HI.wav            at any depth: actor, sentence, intended emotion, intensity
    processedResults/tabulatedVotes.csv     also in corpus.root or data/InfoAndStats/: votes, needed for soft labels

Cao et al., "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset", IEEE Transactions on Affective Computing 5(4),
2014. With `corpus.target: soft` a label is the votes of those who only heard the clip; otherwise it is the intended
emotion. A session is one of five groups of actors (the actor's number modulo 5, plus 1): 4 is `val`, 5 is `test`.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.corpora import raw
from pipeline.corpora.clips import clips
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.params import CorpusParams

LANGUAGES = ("English",)
FAULTS = (
    "All clips have one of twelve sentences.",
    "Listeners' majority agrees with the intended emotion on about 40% of the clips.",
    "In git checkouts without Git LFS, the media are pointers of about 130 bytes.",
)
# The three letters in a file's name, and the column of votes.
EMOTIONS = {
    "ANG": ("anger", "A"),
    "DIS": ("disgust", "D"),
    "FEA": ("fear", "F"),
    "HAP": ("happiness", "H"),
    "NEU": ("neutral", "N"),
    "SAD": ("sadness", "S"),
}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
PLACES = ("processedResults/", "", "data/InfoAndStats/processedResults/", "data/InfoAndStats/")
HEARD = "1"  # the first digit of a row's number: 1 voice alone, 2 face alone, 3 both
GROUPS = 5
SPLITS = {4: "val", 5: "test"}  # session → split; the others are train
_NAME = re.compile(rf"(1[0-9]{{3}})_({'|'.join(SENTENCES)})_({'|'.join(EMOTIONS)})_(LO|MD|HI|XX)")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the clips of 91 actors: 7,442 if none is missing.

    Raises:
        UserError: if there is no clip, a file's name has another form, two files have one name, or votes are missing.
    """
    problems = Problems()
    found = clips(root, (".wav",), _NAME, "AudioWAV/1001_IEO_ANG_HI.wav", problems)
    votes = _votes(root, problems) if corpus.target == "soft" else None
    rows = []
    for path, match in found.items():
        name = path.stem
        actor, sentence, code, _ = match.groups()
        session = int(actor) % GROUPS + 1
        rows.append(
            raw.Row(
                place=str(path),
                utterance=name,
                dialogue=name,
                order=(0,),
                speaker=f"actor {actor}",
                text=SENTENCES[sentence],
                split=SPLITS.get(session, "train"),
                emotion=EMOTIONS[code][0] if votes is None else votes.get(name, ""),
                media=path.relative_to(root).as_posix(),
                session=str(session),
            )
        )
    return raw.tables(rows, corpus, problems)


def published(corpus: CorpusParams) -> dict[str, dict[str, int]]:
    """Return the counts of the intended emotions, {"all": {emotion: clips}}; empty for votes."""
    if corpus.target == "soft":
        return {}
    return {"all": {name: 1087 if name == "neutral" else 1271 for name, _ in EMOTIONS.values()}}


def _votes(root: Path, problems: Problems) -> dict[str, str]:
    """Return {clip: its votes as a cell of labels.csv}."""
    try:
        path = raw.find(root, [f"{place}tabulatedVotes.csv" for place in PLACES], "tabulatedVotes.csv")
    except raw.NoAnnotation as error:
        raise UserError(
            f"{error}; corpus.target=soft needs the votes; set corpus.target=single without them"
        ) from None
    found: dict[str, str] = {}
    for place, row in raw.csv_rows(path, ("", "fileName", *(column for _, column in EMOTIONS.values()))):
        if not row[""].startswith(HEARD):
            continue
        cells = [(name, column, row[column]) for name, column in EMOTIONS.values()]
        for _, column, cell in cells:
            if not re.fullmatch("[0-9]{1,4}", cell):
                problems.add(place, column, cell, "must be a whole number of votes, 0 or more")
        votes = "|".join(f"{name}:{int(cell)}" for name, _, cell in cells if cell.isdecimal() and int(cell))
        if row["fileName"] in found:
            problems.add(place, "fileName", row["fileName"], "duplicate clip")
        found[row["fileName"]] = votes
    return found
