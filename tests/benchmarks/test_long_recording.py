from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from benchmarks.long_recording import heard, repeat
from pipeline.transcribe.journal import Block, Journal
from pipeline.transcribe.sound import RATE, read
from tests.extract.make_clips import clip


def test_the_files_are_repeated_in_order_until_the_recording_is_long_enough(tmp_path: Path) -> None:
    quiet, loud = (np.full(RATE, level, np.float32) for level in (0.1, 0.5))
    for name, sound in (("a.wav", quiet), ("b.wav", loud)):
        clip(tmp_path / name, 1.0, video=False, codec="pcm_s16le", sound=sound)
    repeat([tmp_path / "a.wav", tmp_path / "b.wav"], 5, tmp_path / "long.wav")
    with wave.open(str(tmp_path / "long.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, 5 * RATE)
    levels = np.concatenate(list(read(tmp_path / "long.wav"))).reshape(5, RATE).mean(1)
    assert np.allclose(levels, [0.1, 0.5, 0.1, 0.5, 0.1], atol=0.02)


def test_the_hours_are_those_of_the_last_complete_line(tmp_path: Path) -> None:
    assert heard(tmp_path) == 0
    with Journal(tmp_path / ".transcribe/a.jsonl") as journal:
        for end in (1, 2):
            journal.add(Block(end * 3600 * RATE, False, [], []))
    assert heard(tmp_path) == 2
    with (tmp_path / ".transcribe/a.jsonl").open("a") as file:
        file.write("0123 {")
    assert heard(tmp_path) == 2
