"""Spoken recordings for the tests of transcription."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.demo.voice import RATE, prosody, speak

PAUSE = 0.8  # seconds
LINES = (
    ("f1", "The letter came this morning, and I still cannot believe what it says."),
    ("m1", "Read it to me again, slowly, from the beginning."),
    ("f1", "We have to leave the house before the end of the month."),
    ("m1", "Then we should call your brother and ask him for help."),
)


def spoken(path: Path, lines: Sequence[tuple[str, str]] = LINES) -> list[tuple[float, float]]:
    """Write a .wav in which voices speak one after another, and return the seconds of each line."""
    pause = np.zeros(round(PAUSE * RATE), np.float32)
    sound, spans, at = [pause], [], len(pause)
    for voice, text in lines:
        line = speak(text, voice, prosody("neutral", np.random.default_rng(0)))
        spans.append((at / RATE, (at + len(line)) / RATE))
        sound += [line, pause]
        at += len(line) + len(pause)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.concatenate(sound) * 32767).astype("<i2").tobytes())
    return spans
