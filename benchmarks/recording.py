"""Measure what a bare recording costs: words, speakers and emotions against those of true utterances.

    python -m benchmarks.recording                    # after `dvc repro` on the built-in corpus
    python -m benchmarks.recording --csv results/published/recording.csv

Each test dialogue of the built-in corpus becomes one recording: two voices, one file, 0.4 s between turns. The rows
differ in what is known of it. Columns, in percent:

- words wrong: the word error rate (substituted, deleted and inserted words per true word).
- missed, extra: speech outside all found utterances, and found utterances outside all true turns, per second of true
  turns. A true turn includes the silence around its voice.
- speaker wrong: the share of the seconds in both in which the speaker is another, under the best match of names.
- weighted F1: of the emotions; a true turn gets the emotion of the found utterance with which it shares most time.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import f1_score

from benchmarks.joined import join
from benchmarks.rows import write as write_rows
from evaluate.predict.__main__ import answer
from evaluate.predict.source import from_csv
from evaluate.predict.trained import open_model
from pipeline.command import parser
from pipeline.corpora.raw import Row
from pipeline.errors import entry
from pipeline.params import sections
from pipeline.tables.schema import LABELS, read_utterances
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.recordings import table, transcribe

STEP = 0.01  # seconds


@dataclass(frozen=True)
class Said:
    """An utterance, true or found."""

    start: float
    end: float
    speaker: str
    text: str
    emotion: str = ""


def main() -> None:
    """Make the recordings, measure every row, print the table."""
    words = parser("benchmarks.recording", __doc__)
    words.add_argument("--model", type=Path, default=Path("models/seed0"), help="the model's folder")
    words.add_argument("--csv", type=Path, help="also write the table to this file")
    words.add_argument("--json", type=Path, help="a file for the rows of the table")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.model, Path(folder))
    shown = pd.DataFrame(found)
    print(shown.to_string(index=False, float_format="{:.1f}".format))
    if given.csv:
        shown.to_csv(given.csv, index=False, float_format="%.1f", lineterminator="\n")
    if given.json:
        write_rows(given.json, "recording", found, ["known"])


def measure(model: Path, folder: Path) -> list[dict[str, str | float]]:
    """Return a row for true utterances, and for recordings of which more or less is known.

    Args:
        model: the model's folder.
        folder: an empty folder for the recordings.
    """
    truth = _recordings(folder)
    files = [f"{dialogue}.mp4" for dialogue in truth]
    cases = {"utterances, words, speakers": truth}
    for known, count in (("two speakers", 2), ("nothing", 0), ("speakers not told apart", 1)):
        params = TranscribeParams(speakers=count)
        found = transcribe(folder, files, params, folder / ".transcribe")
        cases[known] = {
            one.dialogue: [Said(t.start, t.end, t.speaker, t.text) for t in one.turns] for one in found
        }
    return [
        {"known": known, **_compared(truth, _with_emotions(said, model, folder))}
        for known, said in cases.items()
    ]


def _recordings(folder: Path) -> dict[str, list[Said]]:
    """Write one recording per test dialogue, and return its true utterances."""
    root = Path(sections().corpus.root)
    utterances = read_utterances()
    labels = pd.read_csv(LABELS, keep_default_na=False)
    table = [(u, row) for u, row in zip(utterances, labels.itertuples(), strict=True) if row.split == "test"]
    truth: dict[str, list[Said]] = {}
    for dialogue in dict.fromkeys(utterance.dialogue for utterance, _ in table):
        turns = [(u, row.emotion) for u, row in table if u.dialogue == dialogue]
        spans = join([root / u.media for u, _ in turns], folder / f"{dialogue}.mp4")
        truth[dialogue] = [
            Said(start, end, u.speaker, u.text, emotion)
            for (start, end), (u, emotion) in zip(spans, turns, strict=True)
        ]
    return truth


def _with_emotions(said: dict[str, list[Said]], model: Path, folder: Path) -> dict[str, list[Said]]:
    """Return the utterances with predicted emotions."""
    rows = [
        Row(
            place=dialogue, utterance=f"{dialogue}_{i:04}", dialogue=dialogue, order=(i,), speaker=one.speaker,
            text=one.text, split="test", emotion="", media=f"{dialogue}.mp4", start=one.start, end=one.end,
        )
        for dialogue, turns in said.items()
        for i, one in enumerate(turns)
    ]  # fmt: skip
    (folder / "spans.csv").write_text(table(rows), encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        trained = open_model(model, {}, folder)
        recordings = from_csv(folder / "spans.csv", trained.goal.target(), Path(place))
        answers = answer(trained, recordings, Path(place), folder / ".predict")
    emotions = iter([answers.emotion(i) for i in range(len(rows))])
    return {
        dialogue: [Said(one.start, one.end, one.speaker, one.text, next(emotions)) for one in turns]
        for dialogue, turns in said.items()
    }


def _compared(truth: dict[str, list[Said]], found: dict[str, list[Said]]) -> dict[str, float]:
    errors = spoken = 0
    missed = extra = wrong = both = seconds = 0
    emotions: list[tuple[str, str]] = []
    for dialogue, turns in truth.items():
        said = found.get(dialogue, [])
        right = _tokens(turns)
        errors += word_errors(right, _tokens(said))
        spoken += len(right)
        ours, theirs = _timeline(turns), _timeline(said)
        missed += int(((ours >= 0) & (theirs < 0)).sum())
        extra += int(((ours < 0) & (theirs >= 0)).sum())
        wrong += _confused(ours, theirs)
        both += int(((ours >= 0) & (theirs >= 0)).sum())
        seconds += int((ours >= 0).sum())
        emotions += [(turn.emotion, _nearest(turn, said)) for turn in turns if turn.emotion]
    true, predicted = zip(*emotions, strict=True)
    return {
        "words wrong": 100 * errors / spoken,
        "missed": 100 * missed / seconds,
        "extra": 100 * extra / seconds,
        "speaker wrong": 100 * wrong / both,
        "utterances": sum(map(len, found.values())),
        "weighted F1": 100 * float(f1_score(true, predicted, average="weighted", zero_division=0)),
    }


def word_errors(right: Sequence[str], found: Sequence[str]) -> int:
    """Return the smallest number of substituted, deleted and inserted words (Levenshtein distance)."""
    above = list(range(len(found) + 1))
    for i, word in enumerate(right, 1):
        row = [i]
        for j, other in enumerate(found, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
        above = row
    return above[-1]


def _tokens(said: Sequence[Said]) -> list[str]:
    return [word for one in said for word in re.findall(r"[\w']+", one.text.lower())]


def _timeline(said: Sequence[Said]) -> np.ndarray:
    """Return the speaker of each STEP of an hour at most, [T] int, -1 where nobody speaks."""
    numbers = {speaker: i for i, speaker in enumerate(dict.fromkeys(one.speaker for one in said))}
    line = np.full(round(3600 / STEP), -1)
    for one in said:
        line[round(one.start / STEP) : round(one.end / STEP)] = numbers[one.speaker]
    return line


def _confused(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Return the steps in which the speaker is another, with the names matched for the fewest such steps."""
    both = (ours >= 0) & (theirs >= 0)
    counts = np.zeros((ours.max() + 1, max(0, theirs.max()) + 1), int)
    np.add.at(counts, (ours[both], theirs[both]), 1)
    rows, columns = linear_sum_assignment(-counts)
    return int(both.sum() - counts[rows, columns].sum())


def _nearest(turn: Said, said: Sequence[Said]) -> str:
    """Return the emotion of the utterance that shares most time with a turn; empty if none does."""
    shared = [(min(turn.end, one.end) - max(turn.start, one.start), one.emotion) for one in said]
    most = max(shared, default=(0.0, ""), key=lambda pair: pair[0])
    return most[1] if most[0] > 0 else ""


if __name__ == "__main__":
    entry(main)
