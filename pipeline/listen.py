"""Compare what is said in a corpus's media with its text, for `python -m pipeline.prepare --check --listen`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.tables.schema import Source
from pipeline.transcribe.listener import Listener
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.sound import Unreadable, cuts

# Words of the longer of the two; the recogniser is often wrong about less.
FEWEST = 4
# A smaller share of common words means another text.
COMMON = 0.3

Spoken = tuple[str, Source, str]


def strangers(spoken: Sequence[Spoken], root: Path, params: TranscribeParams) -> list[str]:
    """Return the utterances whose recognised words have little in common with their text, each with these words.

    Args:
        spoken: (utterance, the span of its sound, its text); channels are mixed.
        root: the folder of the media.
        params: which recogniser.

    Raises:
        UserError: the recogniser or its weights are missing.
    """
    from pipeline import fragments

    listener = Listener(params.weights, params.language)
    found = []
    files: dict[str, list[Spoken]] = {}
    for one in spoken:
        files.setdefault(fragments.split(one[1].cell).file, []).append(one)
    with tqdm(total=len(spoken), desc="listen", unit="utt") as bar:
        for file, turns in files.items():
            turns.sort(key=lambda turn: turn[1].start or 0.0)
