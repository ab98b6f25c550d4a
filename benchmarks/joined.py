"""Join the clips of a dialogue into one recording, for `benchmarks.recording`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from pipeline.demo.encode import write_mp4
from pipeline.demo.voice import FPS, RATE

# Seconds between two turns, whose picture is the last of the turn before.
PAUSE = 0.4
Span = tuple[float, float]


def join(clips: Sequence[Path], out: Path) -> list[Span]:
    """Write one recording of the clips, one after another, and return the seconds of each clip in it.

    A clip without sound is silent in the recording.
    """
    frames = [_count(clip) for clip in clips]
    pause = round(PAUSE * FPS)
    starts = np.cumsum([0, *(count + pause for count in frames)]) / FPS
    sound = np.zeros(round(float(starts[-1]) * RATE), np.float32)
    for clip, start, count in zip(clips, starts, frames, strict=False):
        heard = _sound(clip)[: round(count / FPS * RATE)]
        sound[round(start * RATE) :][: len(heard)] = heard
    write_mp4(out, _pictures(clips, pause), sound)
    return [(float(start), float(start) + count / FPS) for start, count in zip(starts, frames, strict=False)]


def _count(clip: Path) -> int:
    with av.open(str(clip)) as container:
        return sum(1 for _ in container.decode(video=0))


def _pictures(clips: Sequence[Path], pause: int) -> Iterator[np.ndarray]:
    for clip in clips:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                picture = frame.to_ndarray(format="rgb24")
                yield picture
        for _ in range(pause):
            yield picture


def _sound(clip: Path) -> np.ndarray:
    with av.open(str(clip)) as container:
        if not container.streams.audio:
            return np.zeros(0, np.float32)
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])
