"""Cut recognised words into utterances: at pauses, at changes of speaker, and at the longest length."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from pipeline.subrip import SHORTEST
from pipeline.transcribe.listener import Span, Word


@dataclass(frozen=True, slots=True)
class Turn:
    """An utterance: its seconds, its speaker (empty if unknown), and its words."""

    start: float
    end: float
    speaker: str
    text: str


def turns(
    speech: Sequence[Span], words: Sequence[Word], speakers: Sequence[str], pause: float, longest: float
) -> list[Turn]:
    """Return the utterances in order. Speech in which no word was recognised gives none.

    An utterance begins and ends with the speech that the voice detector found, which knows the edges better than
    Whisper. Inside continuous speech the words' own times are the edges.

    Args:
        speech: the spans of speech in seconds, in order.
        words: N words in order.
        speakers: N names.
        pause: seconds of silence that end an utterance.
        longest: seconds; a longer utterance is cut at its widest gap between two words.
    """
    found = []
    stretches = _stretches(speech, pause)
    homes = [_nearest(stretches, (word.start + word.end) / 2) for word in words]
    spoken = sorted(zip(homes, range(len(words)), strict=True))
    for home, group in groupby(spoken, key=lambda pair: pair[0]):
        rows = [row for _, row in group]
        parts = [list(same) for _, same in groupby(rows, key=lambda row: speakers[row])]
        edges = [(words[a[-1]].end + words[b[0]].start) / 2 for a, b in pairwise(parts)]
        start, end = stretches[home]
        edges = [start, *(min(max(edge, start), end) for edge in edges), end]
        for part, (first, last) in zip(parts, pairwise(edges), strict=True):
            found += _short([words[row] for row in part], speakers[part[0]], first, last, longest)
    return found


def _stretches(speech: Sequence[Span], pause: float) -> list[Span]:
    """Join spans that are less than a pause apart."""
    found: list[Span] = []
    for start, end in speech:
        if found and start - found[-1][1] < pause:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _nearest(spans: Sequence[Span], at: float) -> int:
    """Return the index of the span that contains a second, otherwise of the nearest one."""
    after = bisect(spans, (at, math.inf))
    near = range(max(0, after - 1), min(len(spans), after + 1))
    return min(near, key=lambda i: max(spans[i][0] - at, at - spans[i][1], 0.0))


def _short(words: Sequence[Word], speaker: str, start: float, end: float, longest: float) -> list[Turn]:
    """Return one utterance, or several if it is longer than `longest` and has several words."""
    if end - start <= longest or len(words) == 1:
        text = " ".join("".join(word.text for word in words).split())
        return [Turn(round(start, 3), round(max(end, start + SHORTEST), 3), speaker, text)] if text else []
    # Of equally wide gaps, the one nearest to the middle.
    middle = (start + end) / 2
    gaps = [(b.start - a.end, -abs(a.end - middle)) for a, b in pairwise(words)]
    cut = gaps.index(max(gaps)) + 1
    edge = min(max((words[cut - 1].end + words[cut].start) / 2, start), end)
    before = _short(words[:cut], speaker, start, edge, longest)
    return before + _short(words[cut:], speaker, edge, end, longest)
