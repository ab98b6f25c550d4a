"""Build the page of turns: it plays each turn, shows its label, takes another one, and saves a csv file.

`python -m evaluate.predict` writes it with a model's predictions, `python -m pipeline.annotate` without. The page is
one offline file. Its content security policy allows only the recordings, which are named by paths relative to the page,
so the folders can be moved together. The saved csv has the columns that `corpus.name: csv` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.corpora.csv import cells
from pipeline.pages.page import page
from pipeline.pages.palette import colours
from pipeline.tables.schema import Utterance
from pipeline.tables.target import BETWEEN

HERE = Path(__file__).with_suffix("")
UNKNOWN = 1.0  # seconds of a lane for a turn of unknown length
# Seconds between the marks of an axis.
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MARKS = 8  # at most, on an axis


class Guess(NamedTuple):
    """A model's prediction for a turn.

    Attributes:
        label: the most probable label.
        probability: that label's probability.
        bar: a CSS gradient of the probabilities.
        shares: (label, probability) in label order.
    """

    label: str
    probability: float
    bar: str
    shares: list[tuple[str, float]]


@dataclass(frozen=True)
class Turn:
    """One turn on the page.

    Attributes:
        utterance: the utterance.
        start: seconds in its file.
        end: seconds in its file; None if unknown.
        source: the file's URL relative to the page; empty if it cannot be played.
        label: the label that the page shows first; empty for none, several joined by BETWEEN.
        numbers: value → predicted number, for the same values in every turn; the page then takes no labels.
        more: further cells of the saved csv, such as the split; the same columns in every turn.
        guess: the model's prediction; None without a model.
        flags: what a person should know about the turn, such as a missing feature.
        still: a data address of a picture; empty for none.
    """

    utterance: Utterance
    start: float
    end: float | None
    source: str
    label: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    guess: Guess | None = None
    flags: tuple[str, ...] = ()
    still: str = ""

    @property
    def length(self) -> float:
        """Its length in seconds, UNKNOWN if unknown."""
        return UNKNOWN if self.end is None else self.end - self.start

    @property
    def clock(self) -> str:
        """Its start as minutes and seconds."""
        return clock(self.start)


def render(
    title: str, lead: str, labels: Sequence[str], turns: Sequence[Turn], notes: Sequence[str], step: bool,
    several: bool = False,
) -> str:  # fmt: skip
    """Return the page's HTML; equal arguments give equal text.

    Args:
        title: the heading if there are several dialogues; otherwise it is the dialogue's name.
        lead: the sentence below the heading.
        labels: the labels that a person can choose.
        turns: the turns, dialogues in order.
        notes: warnings about the recordings.
        step: whether playback stops at each turn's end until the turn has a label.
        several: whether a turn may have several labels.
    """
    groups: dict[str, list[tuple[int, Turn]]] = {}
    for number, turn in enumerate(turns):
        groups.setdefault(turn.utterance.dialogue, []).append((number, turn))
    ranges = {name: _range([turn.numbers[name] for turn in turns]) for name in turns[0].numbers}
    ids = "\n".join(turn.utterance.utterance for turn in turns)
    return page(
        HERE,
        HERE.with_suffix(".css"),
        title=next(iter(groups)) if len(groups) == 1 else title,
        lead=lead,
        names=labels,
        several=several,
        between=BETWEEN,
        colours=colours(labels or list(ranges)),
        ranges=ranges,
        means=_means(turns),
        notes=notes,
        dialogues=[_dialogue(name, group, ranges) for name, group in groups.items()],
        speakers=sorted({turn.utterance.speaker for turn in turns}),
        guessed=any(turn.guess for turn in turns),
        first=next((turn.source for turn in turns if turn.source), ""),
        step=step,
        # Labels that a person has given are kept in the browser under this key until they are saved.
        key=hashlib.sha256(ids.encode()).hexdigest()[:16],
        rows=[{**cells(turn.utterance), **turn.more} for turn in turns],
    )


def clock(seconds: float) -> str:
    """Return minutes and seconds, such as 83:07."""
    return f"{int(seconds // 60)}:{int(seconds % 60):02}"


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest number; of equal ones, an interval around them."""
    low, high = min(numbers), max(numbers)
    return (low, high) if low < high else (low - 1, high + 1)


def _means(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return each speaker's number of turns and mean of each value, weighted by the turns' lengths."""
    found = []
    for speaker in dict.fromkeys(turn.utterance.speaker for turn in turns):
        own = [turn for turn in turns if turn.utterance.speaker == speaker]
        weights = [turn.length or UNKNOWN for turn in own]
        means = {
            name: sum(turn.numbers[name] * w for turn, w in zip(own, weights, strict=True)) / sum(weights)
            for name in own[0].numbers
        }
        found.append({"speaker": speaker, "count": len(own), "means": means})
    return found


def _dialogue(
    name: str, group: list[tuple[int, Turn]], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Return a dialogue with one lane per speaker; places are in percent of the lane.

    A lane has a curve per value: a step per turn, as the points of an SVG polyline.
    If one file holds the dialogue and has times, they are positions in time; otherwise turns follow one another.
    """
    turns = [turn for _, turn in group]
    lengths = [turn.length for turn in turns]
    starts = [turn.start for turn in turns]
    timed = any(turn.utterance.played[1:3] != (None, None) for turn in turns)
    timed = timed and len({turn.source for turn in turns}) == 1
    if not timed:
        starts = list(accumulate(lengths[:-1], initial=0.0))
    first = min(starts)
    whole = max(start + length for start, length in zip(starts, lengths, strict=True)) - first or 1.0
    lanes: dict[str, list[dict[str, Any]]] = {turn.utterance.speaker: [] for turn in turns}
    for (number, turn), start in zip(group, starts, strict=True):
        left, width = round(100 * (start - first) / whole, 3), round(100 * turn.length / whole, 3)
        heights = {
            n: round(100 * (high - turn.numbers[n]) / (high - low), 1) for n, (low, high) in ranges.items()
        }
        places = {"left": left, "width": width, "right": round(left + width, 3), "heights": heights}
        lanes[turn.utterance.speaker].append({"number": number, "turn": turn, **places})
    marks = (
        [(round(100 * (at - first) / whole, 3), clock(at)) for at in _marks(first, whole)] if timed else []
    )
    return {"name": name, "turns": group, "lanes": lanes, "marks": marks, "first": first, "whole": whole}


def _marks(first: float, whole: float) -> list[float]:
    """Return round times for the axis of a dialogue, in seconds."""
    every = next((step for step in TICKS if whole / step <= MARKS), TICKS[-1])
    begin = int(-(-first // every))
    # The last mark needs room for its words.
    return [float(i * every) for i in range(begin, int((first + 0.97 * whole) // every) + 1)]
