"""Write subtitles in SubRip's format (.srt)."""

from __future__ import annotations

from collections.abc import Iterable

SHORTEST = 0.001  # seconds; the format's resolution


def subrip(cues: Iterable[tuple[float, float, str]]) -> str:
    """Return the text of an .srt file.

    Args:
        cues: (start in seconds, end in seconds, words) of each cue; they are written in order of time.
    """
    return "\n".join(
        f"{number}\n{_clock(start)} --> {_clock(max(end, start + SHORTEST))}\n{words}\n"
        for number, (start, end, words) in enumerate(sorted(cues), 1)
    )


def line(speaker: str, text: str) -> str:
    """Return the words of a cue on one line, after the speaker's name if there is one."""
    words = " ".join(text.split())
    return f"{speaker}: {words}" if speaker else words


def _clock(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"
