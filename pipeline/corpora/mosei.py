"""Import CMU-MOSEI: raw videos and transcripts, with the labels and the split of the CMU Multimodal SDK.

    Transcript/Segmented/Combined/VIDEO.txt    a line per clip, times in seconds: VIDEO___CLIP___START___END___TEXT
    Videos/Full/Combined/VIDEO.mp4             the whole video
    CMU_MOSEI_Labels.csd                       also in Labels/: sentiment and six emotions for each span
    cmu_mosei_std_folds.py                     the SDK's lists of the videos of each split; read as text, never run

Zadeh et al., "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph", ACL
2018. With `corpus.target: values`, `corpus.values` may name sentiment (-3 to 3) and the emotions (0 to 3). With
`corpus.target: multi`, a clip's labels are the emotions above 0, or `neutral` if there is none. A video is a dialogue
of one speaker. A clip has the label whose span has the same start and end; a clip without one is unlabelled.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline import folders
from pipeline.corpora import raw
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.features import csd
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.tables.schema import decimal
from pipeline.tables.target import BETWEEN

LANGUAGES = ("English",)
FAULTS = (
    "Some transcribed clips have no label, and some labels have no transcribed clip.",
    "Some videos are in no split of the SDK.",
    "A text may contain underscores.",
)
TRANSCRIPTS = "Transcript/Segmented/Combined"
VIDEOS = "Videos/Full/Combined"
FOLDS = "cmu_mosei_std_folds.py"
LABELS = ("CMU_MOSEI_Labels.csd", "Labels/CMU_MOSEI_Labels.csd")
EMOTIONS = ("happiness", "sadness", "anger", "surprise", "disgust", "fear")
NAMES = ("sentiment", *EMOTIONS)  # the columns of the labels
NEUTRAL = "neutral"
SAME = 0.01  # seconds between two times that count as equal: the files round them differently
_FOLD = re.compile(r"standard_(train|valid|test)_fold\s*=\s*\[([^\]]*)\]")
_VIDEO = re.compile(r"""'([^'"\\\n]+)'|"([^'"\\\n]+)\"""")


class _Labels(NamedTuple):
    """The labels of a video: spans [n, 2] in seconds and values [n, 7]."""

    spans: np.ndarray
    values: np.ndarray


class _Read(NamedTuple):
    """What was read: the clips, and the numbers of what was left out."""

    rows: list[raw.Row]
    videos_without_split: int
    labels_without_clip: int


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the clips of the videos that are in a split.

    Raises:
        UserError: if `corpus.target` is neither `values` nor `multi`, a file is missing, or a line is invalid.
    """
    if corpus.target not in ("values", "multi"):
        raise UserError(
            f"corpus.target={corpus.target}: a clip of CMU-MOSEI may have several emotions; set corpus.target to "
            "values or multi"
        )
    problems = Problems()
    return raw.tables(_read(root, corpus, problems).rows, corpus, problems)


def notes(corpus: CorpusParams) -> list[str]:
    """Return notes on videos without a split and labels without a clip; empty if there are none."""
    for root in (Path(corpus.root), media_root(corpus.root)):
        if (root / TRANSCRIPTS).is_dir():
            _, videos, labels = _read(root, corpus, Problems())
            return [
                f"{count:,} {what} and were left out"
                for count, what in (
                    (videos, f"videos are in no list of {FOLDS}"),
                    (labels, "labels have a span that no line of a transcript has"),
                )
                if count
            ]
    return []


def _read(root: Path, corpus: CorpusParams, problems: Problems) -> _Read:
    texts = folders.files(root / TRANSCRIPTS, ".txt", below=False)
    if not texts:
        raise raw.NoAnnotation(f"{root}: no transcripts of CMU-MOSEI here (looked for {TRANSCRIPTS}/*.txt)")
    splits = _splits(raw.find(root, [FOLDS], "file of the splits"), problems)
    path = raw.find(root, LABELS, "labels of CMU-MOSEI")
    rows: list[raw.Row] = []
    lost = unmatched = 0
    with closing(csd.Sequence(path)) as sequence:
        for text in texts:
            if text.stem not in splits:
                lost += 1
                continue
            labels = _labels(sequence, text.stem, problems)
            found, left = _clips(text, splits[text.stem], labels, corpus.target == "multi", problems)
            rows += found
            unmatched += left
    return _Read(rows, lost, unmatched)


def _clips(
    text: Path, split: str, labels: _Labels, several: bool, problems: Problems
) -> tuple[list[raw.Row], int]:
    """Return the clips of a transcript, and the number of labels that no clip has.

    Args:
        text: the transcript.
        split: the video's split.
        labels: the video's labels.
        several: whether the rows get the labels of `corpus.target: multi`.
        problems: receives the invalid lines.
    """
    video, rows = text.stem, []
    taken = np.zeros(len(labels.spans), bool)
    for place, line in raw.text_lines(text):
        if not line.strip():
            continue
        name, clip, *times, said = (line.split("___", 4) + [""] * 5)[:5]
        try:
            start, end = map(decimal, times)
        except ValueError:
            name = ""
        if name != video:
            problems.add(
                place, "line", line, f"must be: {video}___CLIP___START___END___TEXT, times in seconds"
            )
            continue
        same = np.flatnonzero((np.abs(labels.spans - [start, end]) <= SAME).all(axis=1))[:1]
        taken[same] = True
        # str of a float32 is its shortest text.
        found = {
            name: float(str(x)) for row in labels.values[same] for name, x in zip(NAMES, row, strict=True)
        }
        rows.append(
            raw.Row(
                place=place,
                utterance=f"{video}_{clip}",
                dialogue=video,
                order=(start, end),
                speaker=video,
                text=said.strip(),
                split=split,
                emotion=_cell(found) if several else "",
                media=f"{VIDEOS}/{video}.mp4",
                start=start,
                end=end,
                values={name: found.get(name) for name in NAMES},
            )
        )
    return rows, int((~taken).sum())


def _cell(found: dict[str, float]) -> str:
    if not found:
        return ""
    return BETWEEN.join(name for name in EMOTIONS if found[name] > 0) or NEUTRAL


def _labels(sequence: csd.Sequence, video: str, problems: Problems) -> _Labels:
    if video not in sequence.entries:
        return _Labels(np.empty((0, 2)), np.empty((0, len(NAMES)), np.float32))
    values, spans = sequence.read(video)
    if values.shape[1] != len(NAMES) or not np.isfinite(values).all():
        why = f"must hold {len(NAMES)} finite numbers for each span: {', '.join(NAMES)}"
        problems.add(f"{sequence.path}: {video}", "features", str(values.shape), why)
        return _Labels(np.empty((0, 2)), np.empty((0, len(NAMES)), np.float32))
    return _Labels(spans, values.astype(np.float32))


def _splits(path: Path, problems: Problems) -> dict[str, str]:
    """Return {video: split}."""
    text = raw.read_text(path)
    found: dict[str, str] = {}
    lists = {match[1]: match for match in _FOLD.finditer(text)}
    for name, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        if name not in lists:
            problems.add(
                f"{path}:1", f"standard_{name}_fold", "", "missing; copy the file from the SDK again"
            )
            continue
        listed = lists[name]
        place = f"{path}:{text.count(chr(10), 0, listed.start()) + 1}"
        if other := _VIDEO.sub("", listed[2]).replace(",", "").strip():
            problems.add(place, listed[1], other, "must be a list of videos in quotes")
        for match in _VIDEO.finditer(listed[2]):
            video = match[1] or match[2]
            if found.setdefault(video, split) != split:
                problems.add(place, "video", video, f"is also in the list of {found[video]}")
    return found
