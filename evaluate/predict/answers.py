"""Format a model's predictions for new recordings: predictions.csv, and subtitles with the emotion first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from evaluate.predict.source import Recordings, played
from pipeline import folders, fragments
from pipeline.params import TargetKind
from pipeline.subrip import line, subrip
from pipeline.tables.target import BETWEEN

OPEN = "?"


@dataclass(frozen=True)
class Answers:
    """Predictions for new recordings.

    Attributes:
        recordings: N utterances and their files.
        labels: the names of the C outputs.
        probabilities: `[N, C]`, rows sum to 1, except for several labels; the values if `kind` is `values`.
        missing: modality → `[N]` status, `ok` where the feature exists.
        at_least: the probability below which an utterance is left open.
        kind: `corpus.target` of the model.
        thresholds: the probability from which each label applies, for several labels.
        far: modality → `[N]` bool, whether the feature is far from those of training (train/distance.py).
    """

    recordings: Recordings
    labels: list[str]
    probabilities: np.ndarray
    missing: dict[str, list[str]]
    at_least: float = 0.0
    kind: TargetKind = "single"
    thresholds: Sequence[float] = ()
    far: dict[str, np.ndarray] = field(default_factory=dict)

    def is_open(self, i: int) -> bool:
        """Return whether no label of row `i` is as probable as `at_least`."""
        return self.kind != "values" and bool(self.probabilities[i].max() < self.at_least)

    def emotion(self, i: int) -> str:
        """Return the answer for row `i`: the most probable label, the labels that apply, or the values.

        It is empty if the row is left open, or if no label applies.
        """
        if self.is_open(i):
            return ""
        row = self.probabilities[i]
        if self.kind == "values":
            return ", ".join(f"{name} {value:.2f}" for name, value in zip(self.labels, row, strict=True))
        if self.kind == "multi":
            there = zip(self.labels, row >= np.array(self.thresholds), strict=True)
            return BETWEEN.join(name for name, applies in there if applies)
        return self.labels[int(row.argmax())]

    def gaps(self, i: int) -> list[tuple[str, str]]:
        """Return (modality, status) of each feature that row `i` lacks."""
        return [(m, status[i]) for m, status in self.missing.items() if status[i] != "ok"]


def table(answers: Answers) -> pd.DataFrame:
    """Return one row per utterance.

    `missing` lists missing features as `modality:status`, `far` the modalities whose feature is far from training.
    """
    utterances = answers.recordings.utterances
    spans = [answers.recordings.span(u) for u in utterances]
    rows = range(len(utterances))
    columns = pd.DataFrame(
        {
            "utterance": [u.utterance for u in utterances],
            "start": [round(start, 3) for start, _ in spans],
            "end": [round(end, 3) if np.isfinite(end) else None for _, end in spans],
            "speaker": [u.speaker for u in utterances],
            "text": [u.text for u in utterances],
            "missing": [" ".join(f"{m}:{status}" for m, status in answers.gaps(i)) for i in rows],
            "far": [" ".join(m for m, found in answers.far.items() if found[i]) for i in rows],
        }
    )
    if answers.kind != "values":
        columns["emotion"] = [answers.emotion(i) for i in rows]
    # A label may have the name of a column, so the label columns are concatenated instead of assigned by name.
    return pd.concat([columns, pd.DataFrame(answers.probabilities, columns=answers.labels)], axis=1)


def subtitles(answers: Answers) -> dict[str, str]:
    """Return {media file: SubRip text} with cues in time order, without utterances of unknown end."""
    cues: dict[str, list[tuple[float, float, str]]] = {}
    for i, utterance in enumerate(answers.recordings.utterances):
        start, end = answers.recordings.span(utterance)
        file = fragments.split(utterance.played.cell).file
        if file and np.isfinite(end):
            words = f"[{answers.emotion(i) or OPEN}] {line(utterance.speaker, utterance.text)}".strip()
            cues.setdefault(file, []).append((start, end, words))
    return {file: subrip(found) for file, found in cues.items()}


def subtitle_names(recordings: Recordings) -> dict[str, str]:
    """Return {media file: name of its subtitles}: `talk.mp4` → `talk.emotion.srt`, folders joined by `_`.

    If two files give the same name, the later one keeps its suffix: `talk.wav.emotion.srt`.
    """
    return {
        file: f"{name}.emotion.srt" for file, name in folders.stems(played(recordings.utterances)).items()
    }
