"""Clips of two people in one frame, of whom one speaks: the built-in corpus's portraits and voices side by side."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.demo.face import talking
from pipeline.demo.portrait import SIZE
from pipeline.demo.voice import FPS, RATE, loudness, prosody, room, speak

OPEN = 4.0
EMOTIONS = ("neutral", "happiness", "anger", "sadness", "excitement", "frustration")
WORDS = (
    "I have never said that we would leave before the others come back.",
    "You could have told me yesterday, when there was still time to change it.",
    "Oh, this is wonderful, I have been waiting for such news all week long!",
    "Nobody asked me, nobody ever asks me what I would like to do.",
)


def write_pair(
    path: Path, seed: int, cut: bool = True, chewing: bool = False, silent: bool = False
) -> tuple[Path, np.ndarray]:
    """Write a clip [320, 640] of one sentence; the other person is silent.

    Args:
        path: where to.
        seed: of words, emotions, portraits and sides.
        cut: halfway the two change places, as where the camera does.
        chewing: the listener's mouth moves, but not by the sound.
        silent: the clip has no sound.

    Returns:
        The path, and for each picture whether the speaker is on the right.
    """
    draw = np.random.default_rng(seed)
    names = ("astronaut", "hopper") if seed % 2 else ("hopper", "astronaut")
    emotions = draw.choice(EMOTIONS, 2)
    sound = room(speak(WORDS[seed % len(WORDS)], "f2", prosody(str(emotions[0]), draw)), draw)
    loud = loudness(sound)
    chews = np.zeros(len(loud))
    if chewing:
        chews = 0.35 + 0.35 * np.sin(2 * np.pi * draw.uniform(1, 2) * np.arange(len(loud)) / FPS)
    # The built-in corpus's mouths open little; these open as far as those of people who are filmed.
    speaker = talking(names[0], str(emotions[0]), OPEN * loud, draw)
    listener = talking(names[1], str(emotions[1]), OPEN * chews, np.random.default_rng(seed + 1000))
    right = np.full(len(loud), bool(draw.integers(2)))
    if cut:
        right[len(right) // 2 :] ^= True
    pictures = []
    for at_right, a, b in zip(right, speaker, listener, strict=True):
        pair = (b, a) if at_right else (a, b)
        pictures.append(np.concatenate(pair, 1))
    if cut:  # another camera has other light
        half = len(pictures) // 2
        pictures[half:] = [cv2.convertScaleAbs(p, alpha=0.6, beta=70) for p in pictures[half:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = 2 * SIZE, SIZE, "yuv420p"
        if not silent:
            audio = container.add_stream("aac", rate=RATE, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if not silent:
            samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            samples.sample_rate = RATE
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
    return path, right
