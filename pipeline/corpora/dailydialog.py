"""Import DailyDialog in both circulating layouts. It has no media and no names: turns alternate between A and B.

    train/dialogues_train.txt            a dialogue per line, each turn ended by __eou__; from train.zip,
    train/dialogues_emotion_train.txt    validation.zip and test.zip in ijcnlp_dailydialog.zip
    train.json, valid.json, test.json    an object per line: {"dialogue": [{"text": …, "emotion": …}, …]}

Li et al., "DailyDialog: A Manually Labelled Multi-turn Dialogue Dataset", IJCNLP 2017. The authors' label 0, "no
emotion", is `neutral` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.corpora import raw
from pipeline.corpora.records import Record, read_lines
from pipeline.messages import Problems
from pipeline.params import CorpusParams

LANGUAGES = ("English",)
FAULTS = (
    "83% of the turns are neutral.",
    "Some dialogues are in more than one split.",
    "Speakers have no names; turns alternate between A and B.",
)
# Our split → its names in folders and files.
SPLITS = {"train": ("train",), "val": ("validation", "valid", "dev"), "test": ("test",)}
# In the order of the text layout's numbers, 0 to 6.
EMOTIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
END = "__eou__"
Turn = tuple[str, str]  # text, emotion as written


class Said(Record):
    """One turn of the JSON layout."""

    text: str
    emotion: str | int


class Conversation(Record):
    """One line of the JSON layout."""

    dialogue: list[Said]


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read DailyDialog's 102,979 turns in 13,118 dialogues.

    Raises:
        UserError: if a file is missing, its two halves differ in length, or a label is unknown.
    """
    problems = Problems()
    rows = [row for split in SPLITS for row in _rows(root, split, problems)]
    return raw.tables(rows, corpus, problems)


def _rows(root: Path, split: str, problems: Problems) -> Iterator[raw.Row]:
    for number, (place, turns) in enumerate(_dialogues(root, split, problems)):
        for turn, (text, emotion) in enumerate(turns):
            yield raw.Row(
                place=f"{place} (turn {turn})",
                utterance=f"{split}_{number:05}_{turn:02}",
                dialogue=f"{split}_{number:05}",
                order=(turn,),
                speaker="AB"[turn % 2],
                text=text.strip(),
                split=split,
                emotion=_name(emotion),
            )


def _dialogues(root: Path, split: str, problems: Problems) -> Iterator[tuple[str, Sequence[Turn]]]:
    """Yield (place, turns) of each dialogue of a split."""
    lines = [f"{name}.json" for name in SPLITS[split]]
    texts = [
        f"{folder}dialogues_{name}.txt"
        for name in SPLITS[split]
        for folder in (f"{name}/", f"{name}/{name}/", "")
    ]
    what = f"{split} split of DailyDialog (unpack the three archives in ijcnlp_dailydialog.zip)"
    path = raw.find(root, [*texts, *lines], what)
    if path.suffix == ".json":
        for place, found in read_lines(path, Conversation):
            yield place, [(said.text, str(said.emotion)) for said in found.dialogue]
    else:
        labels = path.with_name(path.name.replace("dialogues_", "dialogues_emotion_"))
        yield from _paired(path, labels, problems)


def _paired(texts: Path, labels: Path, problems: Problems) -> Iterator[tuple[str, Sequence[Turn]]]:
    """Yield (place, turns) of the text layout: the same line of two files."""
    said = [(place, line) for place, line in raw.text_lines(texts) if line.strip()]
    felt = [(place, line) for place, line in raw.text_lines(labels) if line.strip()]
    if len(said) != len(felt):
        longer, other = (said, labels) if len(said) > len(felt) else (felt, texts)
        place, line = longer[min(len(said), len(felt))]
        problems.add(place, "line", line, f"{other.name} has no such line; it must have one per dialogue")
        return
    for (place, line), (_, numbers) in zip(said, felt, strict=True):
        turns, emotions = line.split(END), numbers.split()
        if not turns[-1].strip():
            turns = turns[:-1]  # every turn ends with the mark
        if len(turns) != len(emotions):
            why = f"the dialogue has {len(turns)} turns"
            problems.add(
                place, "emotion", " ".join(emotions), f"{len(emotions)} labels in {labels.name}, but {why}"
            )
        else:
            yield place, list(zip(turns, emotions, strict=True))


def _name(emotion: str) -> str:
    """Return the name of a label that is a number or a name; other words are returned unchanged."""
    known = dict(zip(map(str, range(len(EMOTIONS))), EMOTIONS, strict=True)) | {"no_emotion": EMOTIONS[0]}
    return known.get(emotion, emotion)
