"""The voices of the demo corpus: eSpeak NG, its prosody moved by emotion, called through ctypes.

The library keeps state from one sentence to the next, which would make a clip depend on what its process spoke before.
So every sentence loads it, seeds it, speaks and unloads it (6-10 ms): the same bytes in any order.
"""

from __future__ import annotations

import ctypes
from _ctypes import dlclose

import espeakng_loader
import numpy as np

RATE = 22050  # Hz, what eSpeak NG's formant voices give
FPS = 25
LEAD, TAIL = 0.12, 0.16  # seconds of room around the speech

# eSpeak's parameters by number: words per minute, loudness (0-200), base pitch and range (0-100).
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
_BASE = {"pitch": 45, "range": 50, "rate": 165, "volume": 95}
_SPREAD = {"pitch": 6, "range": 9, "rate": 10, "volume": 9}
_OFFSETS = {
    "neutral": {"pitch": 0, "range": 0, "rate": 0, "volume": 0},
    "happiness": {"pitch": 18, "range": 30, "rate": 22, "volume": 12},
    "excitement": {"pitch": 33, "range": 45, "rate": 52, "volume": 38},
    "anger": {"pitch": 8, "range": 38, "rate": 30, "volume": 52},
    "frustration": {"pitch": -8, "range": 8, "rate": -14, "volume": 27},
    "sadness": {"pitch": -21, "range": -38, "rate": -52, "volume": -38},
}
_LIMITS = {"pitch": (0, 99), "range": (0, 100), "rate": (90, 260), "volume": (30, 180)}
_SYNCHRONOUS, _UTF8 = 2, 1


def prosody(emotion: str, draw: np.random.Generator) -> dict[str, int]:
    """eSpeak's pitch, range, rate and volume for one utterance: the emotion's offsets and a speaker's whim."""
    return {
        name: int(
            np.clip(
                round(_BASE[name] + _OFFSETS[emotion][name] + draw.normal(0, _SPREAD[name])), *_LIMITS[name]
            )
        )
        for name in _BASE
    }


def speak(text: str, voice: str, settings: dict[str, int]) -> np.ndarray:
    """[n] float32 in -1..1 at RATE: `text` in American English by the variant `voice` (f1, m1, ...)."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        sound = _speak(library, text, voice, settings)
    finally:
        dlclose(library._handle)
    audible = np.flatnonzero(np.abs(sound) > 0.003)  # eSpeak NG ends every sentence with a pause
    return sound[: audible[-1] + 1]


def _speak(library: ctypes.CDLL, text: str, voice: str, settings: dict[str, int]) -> np.ndarray:
    heard: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def listen(samples, count, events):  # type: ignore[no-untyped-def]
        if samples and count > 0:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    if library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0) != RATE:
        raise RuntimeError(f"eSpeak NG cannot start with its data in {espeakng_loader.get_data_path()}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    library.espeak_SetSynthCallback(listen)
    if library.espeak_SetVoiceByName(f"en-us+{voice}".encode()) != 0:
        raise RuntimeError(f"eSpeak NG has no voice en-us+{voice}")
    for name, value in settings.items():
        library.espeak_SetParameter(_PARAMETERS[name], value, 0)
    spoken = text.encode()
    library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken) + 1), 0, 0, 0, _UTF8, None, None)
    library.espeak_Terminate()
    return np.concatenate(heard).astype(np.float32) / 32768


def room(speech: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """[m] float32: the speech with a little room before and after it, faint hiss, and whole video frames long."""
    lead, tail = int(LEAD * RATE), int(TAIL * RATE)
    frame = RATE // FPS
    length = -(-(lead + len(speech) + tail) // frame) * frame
    sound = draw.normal(0, draw.uniform(0.0005, 0.002), length).astype(np.float32)
    sound[lead : lead + len(speech)] += speech
    return np.clip(sound, -1, 1)


def noise(length: int, draw: np.random.Generator) -> np.ndarray:
    """[length] float32: wind and traffic as loud as speech; each sample leans on the one before it."""
    white = draw.normal(0, 0.02, length + 400)
    brown = np.convolve(white, 0.97 ** np.arange(400), "same")[200 : 200 + length]
    return np.clip(brown, -1, 1).astype(np.float32)


def loudness(sound: np.ndarray) -> np.ndarray:
    """[frames] in 0..1: how far the mouth is open at each video frame, by the sound's energy, a little smoothed."""
    frame = RATE // FPS
    energy = np.sqrt((sound.reshape(-1, frame).astype(np.float64) ** 2).mean(1))
    smooth = np.convolve(energy, [0.2, 0.6, 0.2], "same")
    return smooth / max(smooth.max(), 1e-6)
