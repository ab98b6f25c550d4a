"""Transcribe one recording block by block (speech, words, speaker vectors) into the recording's journal.

A block ends in a pause, so that no word is cut, and depends on nothing before it. So a resumed transcription equals an
uninterrupted one, and the memory does not grow with the recording's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.transcribe.ears import Ears
from pipeline.transcribe.journal import Block, Journal
from pipeline.transcribe.listener import Span, Word
from pipeline.transcribe.sound import RATE, read
from pipeline.transcribe.voices import HOP, WINDOW

# Seconds of a block: a kill loses at most this much, and Whisper works on 30 s of speech at a time.
BLOCK = 120.0
# Seconds of speech; the voice of less is not reliable.
SHORTEST_VOICE = 0.4


def hear(
    path: Path,
    journal: Journal,
    ears: Ears,
    progress: Callable[[float], None],
) -> None:
    """Hear the blocks of a recording that its journal lacks.

    Args:
        path: the recording.
        journal: its journal.
        ears: the networks.
        progress: receives the seconds of recording of each block, those in the journal first.

    Raises:
        Unreadable: the recording has no sound that can be read.
    """
    begin = journal.blocks[-1].end if journal.blocks else 0
    progress(begin / RATE)
    if journal.blocks and journal.blocks[-1].last:
        return
    held: list[np.ndarray] = []
    length = 0
    for piece in _from(read(path), begin):
        held.append(piece)
        length += len(piece)
        if length >= BLOCK * RATE:
            sound = np.concatenate(held)
            speech = ears.listener.speech(sound)
            end = _pause(speech, length)
            _add(journal, sound[:end], begin, [s for s in speech if s[1] * RATE <= end], ears)
            progress(end / RATE)
            held, length, begin = [sound[end:]], length - end, begin + end
    sound = np.concatenate([*held, np.zeros(0, np.float32)])
    _add(journal, sound, begin, ears.listener.speech(sound), ears, last=True)
    progress(length / RATE)


def _add(
    journal: Journal,
    sound: np.ndarray,
    begin: int,
    speech: Sequence[Span],
    ears: Ears,
    last: bool = False,
) -> None:
    windows = _windows(speech) if ears.voices else []
    vectors = ears.voices.vectors(sound, windows) if ears.voices else np.zeros((0, 0))
    words = ears.listener.words(sound) if speech else []
    at = begin / RATE
    journal.add(
        Block(
            end=begin + len(sound),
            last=last,
            speech=[(at + start, at + end) for start, end in speech],
            words=[Word(at + word.start, at + word.end, word.text) for word in words],
            windows=[(at + start, at + end) for start, end in windows],
            voices=vectors.astype(np.float16),
        )
    )


def _from(pieces: Iterator[np.ndarray], first: int) -> Iterator[np.ndarray]:
    """Yield the sound from sample `first`."""
    for piece in pieces:
        if first < len(piece):  # an empty slice would keep the whole piece in memory
            yield piece[first:]
        first = max(0, first - len(piece))


def _pause(speech: Sequence[Span], length: int) -> int:
    """Return the sample in the middle of the longest pause in the second half; `length` if there is none."""
    starts = [start for start, _ in speech[1:]] + [length / RATE]
    pauses = [(start - end, (start + end) / 2) for (_, end), start in zip(speech, starts, strict=False)]
    late = [pause for pause in pauses if pause[1] * RATE > length / 2]
    return round(max(late)[1] * RATE) if late else length


def _windows(speech: Sequence[Span]) -> list[Span]:
    """Return overlapping windows over each span of speech."""
    found = []
    for start, end in speech:
        count = max(1, round((end - start - WINDOW) / HOP) + 1)
        length = min(WINDOW, end - start)
        if length >= SHORTEST_VOICE:
            found += [(at, at + length) for at in np.linspace(start, end - length, count).tolist()]
    return found
