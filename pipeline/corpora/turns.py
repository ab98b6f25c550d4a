"""Split cues into turns: find speakers' names, turns that share a cue, and sounds that are not speech.

    ANNA: Good morning!      [SPEAKER_00]: Good morning!      >> ANNA: Good morning!      安娜：早上好！
    - Good morning!
    - Morning. (yawns)       two turns with the span of one cue

A name precedes a colon. It is in brackets, or each of its words begins with a capital. Words without capitals
(`anna:`, `安娜：`) may also be part of a sentence (`look: it works`). They count as names if at least half of the
file's cues begin with a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import category

from pipeline.corpora.cues import Cue

_TAG = r"\[[^\[\]]*\]|\([^()]*\)|［[^［］]*］|（[^（）]*）|【[^【】]*】"
_TAGS = rf"(?:(?:{_TAG})\s*)*"
_NOTE = "[♩-♬🎵🎶]"
_SOUND = re.compile(rf"{_TAG}|{_NOTE}[^{_NOTE[1:-1]}]*{_NOTE}?")
_MARK = re.compile(r"(?:>>+|[-‐‑–—](?![-‐‑–—0-9]))\s*(?=\S)")
# Two turns on one line: `- Hi. - Hello.`
_JOINED = re.compile(r"(?<=[^\w\s,])\s+(?=>>|[-–—]\s)")
_BRACKETED = re.compile(
    r"(?:\[([^\[\]]{1,60})\]|\(([^()]{1,60})\)|［([^［］]{1,60})］|（([^（）]{1,60})）|【([^【】]{1,60})】)\s*[:：]\s*"
    r"|\[(speaker[ _]?[0-9]{1,4})\]\s*",
    re.IGNORECASE,
)
_PLAIN = re.compile(rf"({_TAGS})([^:：\[\]()［］（）【】]{{1,40}}?)\s*({_TAGS})(?:：|:(?=\s|$|[^\W\d_]))\s*")
LONGEST, LONGEST_UNSURE = 4, 2  # words of a name
# Unicode categories of a name's characters (letters, accents, digits of any script), and separators of its parts.
_OF_NAMES = ("L", "M", "N")
_BETWEEN = " .'’&#/-_·・"


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's words in a cue.

    Attributes:
        start, end: the cue's span in seconds.
        speaker: the name; empty if unknown.
        text: the words.
        place: the cue's `FILE:LINE`.
    """

    start: float
    end: float
    speaker: str
    text: str
    place: str


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in front of words; `sure` if it counts as a name in every file."""

    speaker: str
    words: str
    sure: bool


def turns(cues: Sequence[Cue], keep_tags: bool) -> list[Turn]:
    """Return the turns of a file's cues, in the cues' order.

    Without `keep_tags`, sounds (`[laughs]`, `(door slams)`, `♪ …`) are removed, and turns without words are skipped.
    """
    opening = [_name(_MARK.sub("", cue.lines[0], count=1)) for cue in cues]
    trusted = 2 * sum(found is not None for found in opening) >= len(cues)
    return [
        Turn(cue.start, cue.end, speaker, text, cue.place)
        for cue in cues
        for speaker, said in _parts(cue.lines, trusted)
        if (text := " ".join((said if keep_tags else _SOUND.sub(" ", said)).split()))
    ]


def _parts(lines: Sequence[str], trusted: bool) -> list[tuple[str, str]]:
    """Return (speaker, words) of each turn in a cue."""
    marked = _MARK.match(lines[0]) is not None
    if marked:
        lines = [part for line in lines for part in _JOINED.split(line)]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        mark = _MARK.match(line)
        # In the middle of a cue, a dash directly before a word may mark a pause.
        begins = mark is not None and (marked or mark[0].startswith(">") or mark[0].endswith(" "))
        bare = line[mark.end() :] if mark and begins else line
        name = _name(bare)
        if name and (name.sure or (trusted and (begins or not found or found[-1][0]))):
            found.append((name.speaker, [name.words]))
        elif begins or not found:
            found.append(("", [bare]))
        else:
            found[-1][1].append(line)
    parts = [(speaker, " ".join(words).strip()) for speaker, words in found]
    return [(speaker, words) if words else ("", f"{speaker}:") for speaker, words in parts]


def _name(line: str) -> _Name | None:
    if match := _BRACKETED.match(line):
        speaker = next(filter(None, match.groups())).strip()
        return _Name(speaker, line[match.end() :], True) if any(map(str.isalpha, speaker)) else None
    match = _PLAIN.match(line)
    if match is None:
        return None
    speaker = match[2].strip()
    parts = speaker.split()
    if not parts or not speaker[0].isalpha() or len(parts) > LONGEST:
        return None
    if not all(category(c)[0] in _OF_NAMES or c in _BETWEEN for c in speaker):
        return None
    sure = all(part[0].isupper() or not part[0].isalpha() for part in parts)
    if not sure and len(parts) > LONGEST_UNSURE:
        return None
    return _Name(" ".join(parts), " ".join((match[1], match[3], line[match.end() :])), sure)
