"""A resumed transcription of ten hours kept the five hours that it skipped: an empty slice holds its whole array."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from pipeline.transcribe import hear, sound
from pipeline.transcribe.ears import Ears
from pipeline.transcribe.journal import Block, Journal
from pipeline.transcribe.sound import RATE

SECONDS = 1000


class Recording:
    """Pieces of a second each; counts how many exist at once."""

    def __init__(self) -> None:
        self.pieces: list[weakref.ref[np.ndarray]] = []
        self.most = 0

    def read(self, path: Path) -> Iterator[np.ndarray]:
        for k in range(SECONDS):
            piece = np.full(RATE, k, np.float32)
            self.pieces.append(weakref.ref(piece))
            yield piece
            del piece
            self.most = max(self.most, sum(one() is not None for one in self.pieces))


class Silent:
    """Networks that hear no speech."""

    voices = None

    class listener:
        @staticmethod
        def speech(sound: np.ndarray) -> list[tuple[float, float]]:
            return []


def test_a_resumed_transcription_holds_one_block(tmp_path, monkeypatch):
    recording = Recording()
    monkeypatch.setattr(hear, "read", recording.read)
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.add(Block((SECONDS - 10) * RATE, False, [], []))
        hear.hear(Path("a.wav"), journal, cast(Ears, Silent()), lambda seconds: None)
        assert journal.blocks[-1].end == SECONDS * RATE
        assert journal.blocks[-1].last
    assert 10 <= recording.most <= 12


@pytest.mark.parametrize("span", [(990.0, 992.0), (990.5, np.inf)])
def test_the_sound_before_a_span_is_not_held(monkeypatch, span):
    recording = Recording()
    monkeypatch.setattr(sound, "read", recording.read)
    [found] = sound.cuts(Path("a.wav"), [span])
    assert len(found) == (min(span[1], SECONDS) - span[0]) * RATE
    assert found[0] == 990
    assert recording.most <= 12
