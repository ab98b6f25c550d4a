"""Import the lists of EmoBox, a benchmark that has one layout for 32 corpora. Each clip is a dialogue of one turn.

    fold_1/emodb_train_fold_1.jsonl, emodb_test_fold_1.jsonl      corpus.root is EmoBox's folder data/emodb
    label_map.json                                                the corpus's labels → EmoBox's labels

Ma et al., "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark", Interspeech 2024. Media
are relative to the corpus's own folder: set EMOFUSE_MEDIA to what EmoBox calls downloads/emodb. Labels are EmoBox's, in
lower case. The splits are those of fold 1. Without a list for val, every tenth train clip, by key, is `val`. If there
are several folds, a clip's session is the fold that tests it, so `train.fold: 2` tests as fold 2 does.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ConfigDict

from pipeline.corpora import raw
from pipeline.corpora.records import Record, read_json, read_lines
from pipeline.messages import Problems
from pipeline.params import CorpusParams

FAULTS = (
    "The lists have no speakers, so some corpora may have a speaker in several splits.",
    "The label `no-agreement` of MSP-Podcast and `unknown` of ASVP-ESD are not emotions.",
)
SPLITS = {"train": "train", "valid": "val", "test": "test"}
MAPS = ("label_map.json", "label_dict.json")
EVERY = 10
_LIST = re.compile(r".+_(train|valid|test)_fold_([0-9]{1,3})\.jsonl")


class Clip(Record):
    """One line of a list; the times are set if several clips share one file."""

    key: str
    wav: str
    emo: str
    start_time: float | None = None
    end_time: float | None = None


class Labels(Record):
    """The labels of the corpus → the labels of EmoBox."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the clips of all folds.

    Raises:
        UserError: if there is no list, a line is invalid, or a clip is in two splits of a fold.
    """
    lists = _lists(root)
    maps = [read_json(root / name, Labels) for name in MAPS if (root / name).is_file()]
    labels = maps[0].__pydantic_extra__ if maps else {}
    first = min(fold for _, fold, _ in lists)
    several = len({fold for _, fold, _ in lists}) > 1
    problems = Problems()
    clips: dict[str, tuple[str, Clip]] = {}
    split: dict[tuple[int, str], str] = {}
    session: dict[str, int] = {}
    for path, fold, part in lists:
        for place, clip in read_lines(path, Clip):
            clips.setdefault(clip.key, (place, clip))
            if (fold, clip.key) in split:
                problems.add(
                    place, "key", clip.key, f"duplicate clip; it is in {split[fold, clip.key]} of fold {fold}"
                )
            split[fold, clip.key] = part
            if part == "test" and several:
                if clip.key in session:
                    problems.add(place, "key", clip.key, f"fold {session[clip.key]} tests the same clip")
                session[clip.key] = fold
    if "val" not in split.values():
        train = sorted(key for (fold, key), part in split.items() if fold == first and part == "train")
        split |= {(first, key): "val" for key in train[EVERY - 1 :: EVERY]}
    for key, (place, _) in clips.items():
        if (first, key) not in split:
            problems.add(place, "key", key, f"is not in fold {first}")
    rows = [
        raw.Row(
            place=place,
            utterance=key,
            dialogue=key,
            order=(0,),
            speaker="",
            text="",
            split=split[first, key],
            emotion=labels.get(clip.emo, clip.emo).lower(),
            media=raw.media_path(re.sub("^downloads/[^/]+/", "", clip.wav)),
            start=clip.start_time,
            end=clip.end_time,
            session=str(session.get(key, "")),
        )
        for key, (place, clip) in clips.items()
        if (first, key) in split
    ]
    return raw.tables(rows, corpus, problems)


def _lists(root: Path) -> list[tuple[Path, int, str]]:
    """Return (file, fold, split) of the lists; EmoDB also has lists of an older form, whose names do not match."""
    names = ((path, _LIST.fullmatch(path.name)) for path in sorted(root.glob("fold_*/*.jsonl")))
    found = [(path, int(name[2]), SPLITS[name[1]]) for path, name in names if name]
    if not found:
        raise raw.NoAnnotation(f"{root}: no lists of EmoBox here, such as fold_1/emodb_train_fold_1.jsonl")
    return sorted(found, key=lambda entry: entry[1])
