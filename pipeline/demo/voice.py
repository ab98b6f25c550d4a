"""Speak the demo corpus with eSpeak NG through ctypes, with a prosody that depends on the emotion.

The library keeps state between sentences, so a clip would depend on the clips before it. Therefore each sentence loads,
seeds and unloads the library (6-10 ms), which gives the same bytes in any order.
"""

from __future__ import annotations

import ctypes
from _ctypes import dlclose
from typing import Any

import espeakng_loader
import numpy as np

from pipeline.errors import UserError

RATE = 22050  # Hz, fixed by eSpeak NG's formant voices
FPS = 25
LEAD, TAIL = 0.12, 0.16  # seconds of background noise before and after the speech

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
    """Return eSpeak's pitch, range, rate and volume for one utterance: the emotion's offsets plus random variation."""
    return {
        name: int(
            np.clip(
                round(_BASE[name] + _OFFSETS[emotion][name] + draw.normal(0, _SPREAD[name])), *_LIMITS[name]
            )
        )
        for name in _BASE
    }


def speak(text: str, voice: str, settings: dict[str, int]) -> np.ndarray:
    """Return `text` spoken in American English, [n] float32 in -1..1 at RATE.

    Args:
        text: the words.
        voice: eSpeak's voice variant (f1, m1, ...).
        settings: see `prosody`.

    Raises:
        UserError: if eSpeak NG cannot start or lacks the voice.
    """
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        sound = _speak(library, text, voice, settings)
    finally:
        dlclose(library._handle)
    audible = np.flatnonzero(np.abs(sound) > 0.003)  # eSpeak NG ends every sentence with a pause
    return sound[: audible[-1] + 1]


def _speak(library: ctypes.CDLL, text: str, voice: str, settings: dict[str, int]) -> np.ndarray:
    heard: list[np.ndarray] = []

    def listen(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    callback = kind(listen)  # must stay referenced while the library may call it
    if library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0) != RATE:
        raise UserError(
            f"{espeakng_loader.get_data_path()}: eSpeak NG cannot start; reinstall espeakng-loader"
        )
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(f"en-us+{voice}".encode()) != 0:
        raise UserError(f"eSpeak NG has no voice en-us+{voice}; reinstall espeakng-loader")
    for name, value in settings.items():
        library.espeak_SetParameter(_PARAMETERS[name], value, 0)
    spoken = text.encode()
    library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken) + 1), 0, 0, 0, _UTF8, None, None)
    library.espeak_Terminate()
    return np.concatenate(heard).astype(np.float32) / 32768


def room(speech: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return the speech with silence around it and faint noise, [m] float32, a whole number of video frames long."""
    lead, tail = int(LEAD * RATE), int(TAIL * RATE)
    frame = RATE // FPS
    length = -(-(lead + len(speech) + tail) // frame) * frame
    sound = draw.normal(0, draw.uniform(0.0005, 0.002), length).astype(np.float32)
    sound[lead : lead + len(speech)] += speech
    return np.clip(sound, -1, 1)


def noise(length: int, draw: np.random.Generator) -> np.ndarray:
    """Return brown noise like wind and traffic, as loud as speech, [length] float32."""
    white = draw.normal(0, 0.02, length + 400)
    brown = np.convolve(white, 0.97 ** np.arange(400), "same")[200 : 200 + length]
    return np.clip(brown, -1, 1).astype(np.float32)


def loudness(sound: np.ndarray) -> np.ndarray:
    """Return how far the mouth is open in each video frame, [frames] in 0..1: the sound's energy, slightly smoothed."""
    frame = RATE // FPS
    energy = np.sqrt((sound.reshape(-1, frame).astype(np.float64) ** 2).mean(1))
    smooth: np.ndarray = np.convolve(energy, [0.2, 0.6, 0.2], "same")
    open_: np.ndarray = smooth / max(smooth.max(), 1e-6)
    return open_
