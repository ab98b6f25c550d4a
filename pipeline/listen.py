"""Compare what is said in a corpus's media with its text, for `python -m pipeline.prepare --check --listen`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline import fragments
from pipeline.progress import Progress
from pipeline.tables.schema import Source
from pipeline.transcribe.listener import Listener
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.sound import Unreadable, cuts

# Of the written words; a recogniser is often wrong about less.
FEWEST = 4
# A smaller share of common words means another text.
COMMON = 0.3


def strangers(spoken: Sequence[tuple[str, Source, str]], root: Path, params: TranscribeParams) -> list[str]:
    """Return the utterances whose recognised words have little in common with their text, each with these words.

    Utterances of fewer than FEWEST words and unreadable files are left out.

    Args:
        spoken: id, sound and text of each utterance. Of a file with several channels, all are heard.
        root: the folder of the media.
        params: how to recognise words.

    Raises:
        UserError: the recogniser or its weights are missing.
    """
    files: dict[str, list[tuple[str, Source, str]]] = {}
    for one in spoken:
        if len(words(one[2])) >= FEWEST:
            files.setdefault(fragments.split(one[1].cell).file, []).append(one)
    listener = Listener(params.weights, params.language)
    found = []
    with Progress("listen", sum(map(len, files.values()))) as progress:
        for file, turns in files.items():
            turns.sort(key=lambda turn: turn[1].start or 0.0)
            spans = [
                (turn[1].start or 0.0, math.inf if turn[1].end is None else turn[1].end) for turn in turns
            ]
            try:
                for (name, source, text), sound in zip(turns, cuts(root / file, spans), strict=True):
                    heard = "".join(word.text for word in listener.words(sound)).strip()
                    if common(text, heard) < COMMON:
                        found.append(f"{name} ({source.cell}: {heard or 'no words'})")
                    progress.add(1)
            except Unreadable:
                continue  # the report lists the file among the undecodable ones or those without sound
    return found


def common(text: str, heard: str) -> float:
    """Return the share of common words, 0 to 1: twice their number over that of all words (Dice's coefficient)."""
    a, b = Counter(words(text)), Counter(words(heard))
    return 2 * (a & b).total() / max(1, a.total() + b.total())


def words(text: str) -> list[str]:
    """Return the words in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower().replace("’", "'"))
