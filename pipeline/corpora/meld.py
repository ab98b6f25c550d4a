"""Import MELD as distributed: three csv files and, for audio and faces, the media folders of MELD.Raw.

    {train,dev,test}_sent_emo.csv       also found in train/, data/MELD/ (as in the repository), MELD.Raw/ …
    train_splits/dia0_utt0.mp4          also found in train/train_splits/ …
    dev_splits_complete/…
    output_repeated_splits_test/…

Poria et al., "MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations", ACL 2019.
Dialogue ids restart in each split and utterance ids have gaps, so ids become `train_dia0000_utt00`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora import raw
from pipeline.corpora.cues import seconds
from pipeline.env import media_root
from pipeline.messages import Problems
from pipeline.params import CorpusParams

LANGUAGES = ("English",)
FAULTS = (
    "The clips of train_dia0125_utt03 and dev_dia0110_utt07 cannot be used: one is damaged, the other is missing.",
    "Some clips contain another utterance or several, because they were cut by subtitles.",
    "Copies of the csv files have punctuation in a wrong encoding, which the importer repairs.",
)
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
# MELD's split → our split, and the folder of its clips.
SPLITS = {
    "train": ("train", "train_splits"),
    "dev": ("val", "dev_splits_complete"),
    "test": ("test", "output_repeated_splits_test"),
}
EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
PUBLISHED = {
    "train": (4710, 1205, 268, 683, 1743, 271, 1109),
    "val": (470, 150, 40, 111, 163, 22, 153),
    "test": (1256, 281, 50, 208, 402, 68, 345),
}
_C1 = re.compile("[\x80-\x9f]")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read MELD's 13,708 utterances; a missing clip keeps its path.

    Raises:
        UserError: if an annotation file is missing or has invalid rows.
    """
    problems = Problems()
    rows = [row for split in SPLITS for row in _split(root, split, media_root(corpus.root), problems)]
    return raw.tables(rows, corpus, problems)


def published(corpus: CorpusParams) -> dict[str, dict[str, int]]:
    """Return the paper's counts, {split: {emotion: utterances}}."""
    return {split: dict(zip(EMOTIONS, counts, strict=True)) for split, counts in PUBLISHED.items()}


def repair(text: str) -> str:
    """Return text with C1 control characters replaced: they are cp1252 punctuation that was decoded as Latin-1."""
    return _C1.sub(lambda match: match[0].encode("latin-1").decode("cp1252", "ignore") or match[0], text)


def _split(root: Path, split: str, media: Path, problems: Problems) -> Iterator[raw.Row]:
    ours, clips = SPLITS[split]
    name = f"{split}_sent_emo.csv"
    path = raw.find(root, [folder + name for folder in (*_folders(split), "data/MELD/", "data/")], name)
    folders = [folder + clips for folder in _folders(split)]
    clips = next((folder for folder in folders if (media / folder).is_dir()), clips)
    for place, row in raw.csv_rows(path, COLUMNS):
        ids = [row["Dialogue_ID"], row["Utterance_ID"]]
        for field, value in zip(("Dialogue_ID", "Utterance_ID"), ids, strict=True):
            if not re.fullmatch("[0-9]{1,6}", value):
                problems.add(place, field, value, "must be a whole number, 0 or more")
        if not all(re.fullmatch("[0-9]{1,6}", value) for value in ids):
            continue
        dialogue, utterance = map(int, ids)
        yield raw.Row(
            place=place,
            utterance=f"{split}_dia{dialogue:04}_utt{utterance:02}",
            dialogue=f"{split}_dia{dialogue:04}",
            order=(utterance,),
            speaker=repair(row["Speaker"]),
            text=repair(row["Utterance"]),
            split=ours,
            emotion=row["Emotion"],
            media=f"{clips}/dia{dialogue}_utt{utterance}.mp4",
            stated=_length(row),
        )


def _length(row: dict[str, str]) -> float | None:
    """Return the seconds from StartTime to EndTime of the episode; None if the file lacks these columns."""
    start, end = (seconds(row.get(name, "")) for name in ("StartTime", "EndTime"))
    return None if start is None or end is None else end - start


def _folders(split: str) -> tuple[str, ...]:
    return "", f"{split}/", "MELD.Raw/", f"MELD.Raw/{split}/"
