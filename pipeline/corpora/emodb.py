"""Import the Berlin emotional speech database (EmoDB) as distributed. Each clip is a dialogue of one turn.

    wav/03a01Wa.wav      at any depth: speaker (2 digits), sentence (a01 … b10), emotion (a German letter), version

Burkhardt et al., "A Database of German Emotional Speech", Interspeech 2005. A session is a speaker, so that
`train.fold: "03"` holds out speaker 03. Speakers 12 and 14 are `val`, 15 and 16 are `test`: a man and a woman each.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.corpora import raw
from pipeline.corpora.clips import clips
from pipeline.messages import Problems
from pipeline.params import CorpusParams

LANGUAGES = ("German",)
FAULTS = (
    "All clips have one of ten sentences.",
    "Clips that listeners did not recognise were removed, so scores are higher than on spontaneous speech.",
    "A speaker has only 35 to 71 clips.",
)
# The first letter of Wut, Langeweile, Ekel, Angst, Freude, Trauer and neutral.
EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
COUNTS = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
SPLITS = {"12": "val", "14": "val", "15": "test", "16": "test"}  # speaker → split; the others are train
_NAME = re.compile(rf"(03|08|09|1[0-6])({'|'.join(SENTENCES)})([{''.join(EMOTIONS)}])[a-z]")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the clips of 10 speakers: 535 if none is missing.

    Raises:
        UserError: if there is no clip, a file's name has another form, or two files have one name.
    """
    problems = Problems()
    rows = []
    for path, name in clips(root, (".wav",), _NAME, "wav/03a01Wa.wav", problems).items():
        speaker, sentence, emotion = name.groups()
        rows.append(
            raw.Row(
                place=str(path),
                utterance=path.stem,
                dialogue=path.stem,
                order=(0,),
                speaker=f"speaker {speaker}",
                text=SENTENCES[sentence],
                split=SPLITS.get(speaker, "train"),
                emotion=EMOTIONS[emotion],
                media=path.relative_to(root).as_posix(),
                session=speaker,
            )
        )
    return raw.tables(rows, corpus, problems)


def published(corpus: CorpusParams) -> dict[str, dict[str, int]]:
    """Return the counts of the distributed clips, {"all": {emotion: clips}}."""
    return {"all": {EMOTIONS[letter]: count for letter, count in COUNTS.items()}}
