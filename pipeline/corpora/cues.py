"""Parse subtitles into cues: SubRip and WebVTT, with or without numbers and blank lines.

A line with two times begins a cue. The lines below it are its words, up to the number or name above the next cue.
A malformed line of times is reported, because reading it as words would merge two turns.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.corpora import raw
from pipeline.messages import Problems

_CLOCK = r"(-?)(?:([0-9]{1,4}):)?([0-9]{1,3}):([0-5]?[0-9])(?:[,.]([0-9]{1,9}))?"
_SPAN = re.compile(rf"{_CLOCK}\s*--(?:>|&gt;)\s*{_CLOCK}(?:\s.*)?")
_NEARLY = re.compile(
    r"--(?:>|&gt;)|[0-9]{1,4}:[0-9]{1,3}[:,.][0-9]\S{0,12}\s*[^\w\s]{1,4}\s*-?[0-9]{1,4}:[0-9]"
)
_NUMBER = re.compile("[0-9]{1,9}")
_ASIDE = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^\s<>][^<>]*)>")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|</?[0-9:.]*>|\{\\[^{}]*\}")
# Shapes that an ASS override draws; their coordinates are not words.
_DRAWING = re.compile(
    r"\{[^{}]{0,200}\\p[1-9][^{}]{0,200}\}.*?(?:\{[^{}]{0,200}\\p0[^{}]{0,200}\}|\Z)", re.DOTALL
)
_WORD = re.compile(r"<[0-9:]+\.[0-9]+>")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
# Marks of writing direction, and byte order marks left where files were concatenated: nobody says them.
_UNSAID = dict.fromkeys(map(ord, "\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Attributes:
        start, end: seconds.
        lines: its lines without markup; no line is empty.
        place: where it is in the file, `FILE:LINE`.
    """

    start: float
    end: float
    lines: tuple[str, ...]
    place: str


def read_cues(path: Path, problems: Problems) -> list[Cue]:
    """Return the cues of a subtitle file in time order, without cues that have no text.

    Invalid lines are added to `problems`.

    Raises:
        UserError: if the file is not a text file.
    """
    places, lines = [], []
    for place, line in raw.text_lines(path):
        places.append(place)
        lines.append(line.replace("\ufeff", "").strip())
    vtt = bool(lines) and lines[0].startswith("WEBVTT")
    if vtt:
        lines = list(_without_asides(lines))
    times = [i for i, line in enumerate(lines) if _SPAN.fullmatch(line) or _NEARLY.search(line)]
    heads = [*_heads(lines, times, vtt), len(lines)]
    if not vtt and (stray := [i for i in range(heads[0]) if lines[i]]):
        first = next((i for i in stray if not _NUMBER.fullmatch(lines[i])), stray[0])
        _expected(places, lines, first, problems)
    cues = []
    for at, head, end in zip(times, heads, heads[1:], strict=False):
        _check_numbers(places, lines, (head, at, end), problems)
        span = _span(lines[at])
        if span is None:
            _expected(places, lines, at, problems)
        elif span[0] < 0:
            why = "the cue begins before the recording; its start must be 0 or later"
            problems.add(places[at], "line", lines[at], why)
        elif span[1] <= span[0]:
            why = f"the cue ends at {span[1]:g} s; it must end after its start at {span[0]:g} s"
            problems.add(places[at], "line", lines[at], why)
        elif words := clean(lines[at + 1 : end]):
            cues.append(Cue(*span, words, places[at]))
    # Python's sort is stable: cues with equal times keep the file's order.
    cues.sort(key=lambda cue: (cue.start, cue.end))
    return list(_unrolled(cues)) if vtt and any(map(_WORD.search, lines)) else cues


def clean(lines: Sequence[str]) -> tuple[str, ...]:
    r"""Return lines without tags, ASS overrides and drawings, and entities.

    `\N` ends a line. WebVTT's `<v NAME>` becomes `[NAME]:`.
    """
    text = _VOICE.sub(r"\n[\1]: ", "\n".join(filter(None, lines)))
    text = _MARKUP.sub("", _DRAWING.sub("", text))
    text = text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text).translate(_UNSAID)
    found = (" ".join(line.split()) for line in text.split("\n"))
    return tuple(line for line in found if line)


def seconds(clock: str) -> float | None:
    """Parse a time such as 00:16:16,059 into seconds; return None if `clock` is not a time."""
    match = re.fullmatch(_CLOCK, clock.strip())
    return _seconds(*match.groups()) if match else None


def _span(line: str) -> tuple[float, float] | None:
    match = _SPAN.fullmatch(line)
    return (_seconds(*match.groups()[:5]), _seconds(*match.groups()[5:10])) if match else None


def _seconds(sign: str, hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return float(f"{sign}{whole}.{fraction or 0}")


def _unrolled(cues: Sequence[Cue]) -> Iterator[Cue]:
    """Yield cues of rolling captions without repeated lines.

    In captions whose words have their own times, a cue repeats the previous cue's last line.
    """
    last = ""
    for cue in cues:
        new = cue.lines[1:] if cue.lines[0] == last else cue.lines
        last = cue.lines[-1]
        if new:
            yield replace(cue, lines=new)


def _without_asides(lines: Sequence[str]) -> Iterator[str]:
    aside, above = False, ""
    for line in lines:
        aside = bool(line) and (aside or (not above and bool(_ASIDE.match(line))))
        yield "" if aside else line
        above = line


def _heads(lines: Sequence[str], times: Sequence[int], vtt: bool) -> list[int]:
    """Return the first line of each cue: its number, its name (WebVTT), or its times."""
    numbered = bool(times) and _above(lines, times[0]) is not None
    heads = []
    for at in times:
        above = _above(lines, at)
        after_blank = at == 1 or (at > 1 and not lines[at - 2])
        if above is not None and (numbered or (above == at - 1 and after_blank)):
            heads.append(above)
        else:
            heads.append(at - 1 if vtt and after_blank and lines[at - 1] else at)
    return heads


def _above(lines: Sequence[str], at: int) -> int | None:
    """Return the line of the number above a line of times, past blank lines; None if there is no number."""
    above = next((i for i in range(at - 1, -1, -1) if lines[i]), -1)
    return above if above >= 0 and _NUMBER.fullmatch(lines[above]) else None


def _check_numbers(
    places: Sequence[str], lines: Sequence[str], cue: tuple[int, int, int], problems: Problems
) -> None:
    """Report the next number without its times: a missing line of times would merge two turns."""
    head, at, end = cue
    if not _NUMBER.fullmatch(lines[head]):
        return
    for i in range(at + 2, end):
        if not lines[i - 1] and _NUMBER.fullmatch(lines[i]) and int(lines[i]) == int(lines[head]) + 1:
            _expected(places, lines, min(i + 1, len(lines) - 1), problems)


def _expected(places: Sequence[str], lines: Sequence[str], at: int, problems: Problems) -> None:
    problems.add(places[at], "line", lines[at], "expected 00:00:00,000 --> 00:00:00,000")
