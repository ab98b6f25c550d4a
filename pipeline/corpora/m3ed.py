"""Import M3ED as distributed: Chinese television dialogues, each utterance labelled by three annotators.

    annotation.json                              {show: {dialogue: {SpeakerInfo: …, Dialog: {utterance: …}}}}
    splitInfo/movie_list_{train,val,test}.txt    the shows of each split
    modality_speech/A_anjia_1_1.wav              the utterances' sound; the pictures are not released

Zhao et al., "M3ED: Multi-modal Multi-scene Multi-label Emotional Dialogue Database", ACL 2022. `corpus.target: single`
takes `final_main_emo`, `multi` takes `final_mul_emo`, and `soft` takes the annotators' votes: one vote for each label
that an annotator named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import RootModel

from pipeline.corpora import raw
from pipeline.corpora.records import Record, read_mapping
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.tables.schema import whole

LANGUAGES = ("Chinese",)
FAULTS = (
    "The pictures are not released; the authors' visual features are.",
    "Speakers are characters of a series; an actor may play in several series.",
)
EMOTIONS = ("happy", "neutral", "sad", "disgust", "anger", "fear", "surprise")
MAIN = (2287, 10028, 3957, 1497, 5234, 395, 1051)
SPLITS = ("train", "val", "test")
ANNOTATORS = ("EmoAnnotator1", "EmoAnnotator2", "EmoAnnotator3")
SOUND = "modality_speech"


class Annotation(Record):
    """The labels of an utterance; each cell has one label or several, separated by commas."""

    EmoAnnotator1: str
    EmoAnnotator2: str
    EmoAnnotator3: str
    final_mul_emo: str
    final_main_emo: str


class Said(Record):
    """One utterance."""

    Text: str
    Speaker: str
    EmoAnnotation: Annotation


class Speaker(Record):
    """One of the two speakers of a dialogue."""

    Name: str


class Dialogue(Record):
    """One dialogue: its speakers by letter, and its utterances by id."""

    SpeakerInfo: dict[str, Speaker]
    Dialog: dict[str, Said]


class Shows(RootModel[dict[str, dict[str, Dialogue]]]):
    """The file: show → dialogue."""


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read M3ED's 24,449 utterances in 990 dialogues.

    Raises:
        UserError: if a file is missing, annotation.json has another form, or a show has no split.
    """
    path = raw.find(root, ["annotation.json"], "annotation.json of M3ED")
    problems = Problems()
    split = _splits(root)
    rows: list[raw.Row] = []
    for show, dialogues in read_mapping(path, Shows).items():
        if show not in split:
            problems.add(f"{path}: {show}", "show", show, "is in no file of splitInfo")
            continue
        for name, dialogue in dialogues.items():
            rows += _turns(path, show, name, dialogue, split[show], corpus, problems)
    return raw.tables(rows, corpus, problems)


def published(corpus: CorpusParams) -> dict[str, dict[str, int]]:
    """Return the counts of the main labels, {"all": {emotion: utterances}}; empty for other targets."""
    return {"all": dict(zip(EMOTIONS, MAIN, strict=True))} if corpus.target == "single" else {}


def _turns(
    path: Path, show: str, name: str, dialogue: Dialogue, split: str, corpus: CorpusParams, problems: Problems
) -> Iterator[raw.Row]:
    for utterance, said in dialogue.Dialog.items():
        place = f"{path}: {show}.{name}.Dialog.{utterance}"
        try:
            turn = whole(utterance.rpartition("_")[2])  # the file's order is not that of the dialogue
        except ValueError:
            problems.add(place, "utterance", utterance, "must end in the number of the turn")
            continue
        if said.Speaker not in dialogue.SpeakerInfo:
            problems.add(place, "Speaker", said.Speaker, "is not in SpeakerInfo")
            continue
        yield raw.Row(
            place=place,
            utterance=utterance,
            dialogue=name,
            order=(turn,),
            speaker=f"{show} {dialogue.SpeakerInfo[said.Speaker].Name}",
            text=said.Text,
            split=split,
            emotion=_cell(said.EmoAnnotation, corpus.target),
            media=f"{SOUND}/{said.Speaker}_{utterance}.wav",
        )


def _cell(found: Annotation, target: str) -> str:
    """Return the labels as a cell of labels.csv."""
    if target == "soft":
        votes = Counter(label for name in ANNOTATORS for label in _labels(getattr(found, name)))
        return "|".join(f"{label}:{count}" for label, count in sorted(votes.items()))
    if target == "multi":
        return "|".join(dict.fromkeys(_labels(found.final_mul_emo)))
    return found.final_main_emo.strip().lower()


def _labels(cell: str) -> list[str]:
    return [label for part in cell.split(",") if (label := part.strip().lower())]


def _splits(root: Path) -> dict[str, str]:
    """Return {show: split}.

    Raises:
        UserError: if a list is missing, or a show is in two lists.
    """
    found: dict[str, str] = {}
    for split in SPLITS:
        path = raw.find(root, [f"splitInfo/movie_list_{split}.txt"], f"list of the {split} split of M3ED")
        for place, line in raw.text_lines(path):
            show = line.strip()
            if show and found.setdefault(show, split) != split:
                raise UserError(
                    f"{place}: show {show!r} is also in the list of {found[show]}; keep it in one list"
                )
    return found
