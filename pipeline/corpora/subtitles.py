"""A folder of videos with `.srt` subtitles: one dialogue a video, one utterance a cue, nothing labelled.

    corpus.root/train/kitchen.mp4, kitchen.srt      a folder train, val or test says the split; otherwise test
    corpus.root/call.mkv, call.en.srt

The speaker is a cue's `NAME:` prefix, where it has one. `read_srt` is the project's one reader of subtitles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpora import raw
from pipeline.errors import UserError
from pipeline.params import CorpusParams
from pipeline.tables.schema import SPLITS

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4a", ".mp3", ".wav", ".flac", ".ogg")
_TIME = r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]?\d)(?:[,.](\d{1,3}))?"
_SPAN = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(\s.*)?")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: seconds, its text on one line without markup, and the line of the file it starts on."""

    start: float
    end: float
    text: str
    line: int


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """One utterance a cue of every `.srt` under `root`, without emotions.

    Raises:
        UserError: no subtitles, or a bad time line.
    """
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() == ".srt" and not p.name.startswith("._"))
    if not files:
        raise raw.NoAnnotation(f"{root}: no .srt files here")
    problems = raw.Problems()
    rows = []
    for path in files:
        below = path.relative_to(root)
        dialogue = "_".join(below.with_suffix("").parts)
        split = next((part for part in below.parts[:-1] if part in SPLITS), "test")
        media = _media(below, raw.media_root(corpus))
        rows += cues(path, dialogue, media, split)
    return raw.tables(rows, corpus, problems)


def cues(path: Path, dialogue: str, media: str, split: str) -> list[raw.Row]:
    """One utterance a cue of a subtitle file, all of one dialogue.

    Raises:
        UserError: as `read_srt`.
    """
    rows = []
    for number, cue in enumerate(read_srt(path)):
        speaker, text = split_speaker(cue.text)
        rows.append(
            raw.Row(
                place=f"{path}:{cue.line}",
                utterance=f"{dialogue}_{number:04}",
                dialogue=dialogue,
                order=(number,),
                speaker=speaker,
                text=text,
                split=split,
                emotion="",
                media=media,
                start=cue.start,
                end=cue.end,
            )
        )
    return rows


def read_srt(path: Path) -> list[Cue]:
    """The cues of a SubRip file in time order, those without text left out.

    Raises:
        UserError: not UTF-8, or a line where a time was due, or an end that is not after its start.
    """
    cues = []
    lines = [line for _, line in raw.text_lines(path)]
    number = 0
    while number < len(lines):
        if not lines[number].strip():
            number += 1
            continue
        # The counter above the times is often missing or wrong, and nothing depends on it.
        if "-->" not in lines[number] and lines[number].strip().isdigit():
            number += 1
        match = _SPAN.fullmatch(lines[number]) if number < len(lines) else None
        if match is None:
            shown = lines[min(number, len(lines) - 1)][:60]
            raise UserError(f"{path}:{number + 1}: {shown!r}: expected 00:00:00,000 --> 00:00:00,000")
        start, end = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:8])
        if end <= start:
            raise UserError(
                f"{path}:{number + 1}: the cue ends at {end:g} s, not after its start at {start:g} s"
            )
        place, text = number + 1, []
        number += 1
        while number < len(lines) and lines[number].strip():
            text.append(lines[number])
            number += 1
        if joined := " ".join(_MARKUP.sub("", " ".join(text)).split()):
            cues.append(Cue(start, end, joined, place))
    return sorted(cues, key=lambda cue: (cue.start, cue.end, cue.line))


def split_speaker(text: str) -> tuple[str, str]:
    """(speaker, words) of a cue; the speaker is empty where no `NAME:` stands before the words."""
    name, colon, words = text.lstrip(" -–—").partition(": ")
    parts = name.split()
    # `Anna:` and `MRS. SMITH:` are names; `Look at this:` is not.
    if colon and words.strip() and 1 <= len(parts) <= 4 and all(part[0].isupper() for part in parts):
        return name.strip(), words.strip()
    return "", text


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + int((fraction or "0").ljust(3, "0")) / 1000


def _media(srt: Path, root: Path) -> str:
    """The recording beside a subtitle file; `talk.en.srt` belongs to `talk.mp4`."""
    stems = [srt.with_suffix("")]
    if stems[0].suffix:
        stems.append(stems[0].with_suffix(""))
    for stem in stems:
        for suffix in SUFFIXES:
            for spelt in (suffix, suffix.upper()):  # cameras write TALK.MP4
                file = stem.with_name(stem.name + spelt)
                if (root / file).is_file():
                    return file.as_posix()
    return srt.with_suffix(".mp4").as_posix()
