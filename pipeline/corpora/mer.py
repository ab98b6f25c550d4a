"""Import the labelled clips of the MER challenges of 2023 to 2026. Each clip is a dialogue of one turn.

    2023         train-label.csv and test1-label.csv; clips in train/ and test1/ (or in mer2023train/, test-labels/)
    2024         label-disdim.csv; clips in video-labeled/
    2025, 2026   track1_train_disdim.csv or track1_train.csv, and track1_test_dis.csv if you have it; clips in video/

Lian et al., "MER 2023: Multi-label Learning, Modality Robustness, and Semi-Supervised Learning", ACM Multimedia 2023.
A csv has the columns `name` and `discrete`. Texts come from subtitle_chieng.csv (`name`, `chinese`) if it exists. The
challenges have no val split: every tenth labelled clip, by name, is `val`. If there are no labels of the test clips,
another tenth of the clips is `test`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.corpora import raw
from pipeline.env import media_root
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.tables.labels import rating

LANGUAGES = ("Chinese",)
FAULTS = (
    "Clips have no speakers and no dialogues.",
    "There is no val split; every tenth labelled clip is val.",
    "Of the three test sets of 2023, only the first is read.",
    "Some .mp4 files of 2023 lack the video (zeroQiaoba/MERTools, issue 8).",
)
EMOTIONS = ("neutral", "angry", "happy", "sad", "worried", "surprise")
TRAIN = (
    "train-label.csv", "mer2023train/train-label.csv", "label-disdim.csv", "track1_train_disdim.csv",
    "track1_train.csv",
)  # fmt: skip
TEST = ("test1-label.csv", "test-labels/test1-label.csv", "track1_test_dis.csv")
CLIPS = {
    "train": ("train/", "mer2023train/train/", "video-labeled/", "video/"),
    "test": ("test1/", "mer2023train/test1/", "video/"),
}
VALENCE = "valence"  # for corpus.values; some label files lack it
SUBTITLES = "subtitle_chieng.csv"
SUFFIXES = (".avi", ".mp4")
EVERY = 10


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the clips with labels.

    Raises:
        UserError: if there is no label file for train, a column is missing, or a row is invalid.
    """
    train = list(raw.csv_rows(raw.find(root, TRAIN, "labels of MER's train clips"), ("name", "discrete")))
    tests = next((root / name for name in TEST if (root / name).is_file()), None)
    parts = dict.fromkeys((row["name"] for _, row in train), "train")
    for number, name in enumerate(sorted(parts)):
        if number % EVERY == EVERY - 1:
            parts[name] = "val"
        elif number % EVERY == EVERY // 2 and tests is None:
            parts[name] = "test"
    found = [(place, row, parts[row["name"]], CLIPS["train"]) for place, row in train]
    if tests is not None:
        found += [
            (place, row, "test", CLIPS["test"]) for place, row in raw.csv_rows(tests, ("name", "discrete"))
        ]
    texts = {}
    if (root / SUBTITLES).is_file():
        texts = {
            row["name"]: row["chinese"] for _, row in raw.csv_rows(root / SUBTITLES, ("name", "chinese"))
        }
    media, problems = media_root(corpus.root), Problems()
    rows = [
        raw.Row(
            place=place,
            utterance=row["name"],
            dialogue=row["name"],
            order=(0,),
            speaker="",
            text=texts.get(row["name"], ""),
            split=split,
            emotion=row["discrete"],
            values={VALENCE: rating(row.get(VALENCE, ""), VALENCE, place, problems)},
            media=_clip(media, folders, row["name"]),
        )
        for place, row, split, folders in found
    ]
    return raw.tables(rows, corpus, problems)


def _clip(media: Path, folders: Sequence[str], name: str) -> str:
    """Return the clip's file; the last candidate if it is missing."""
    files = [f"{folder}{name}{suffix}" for folder in folders for suffix in SUFFIXES]
    return next((file for file in files if os.path.isfile(media / file)), files[-1])
