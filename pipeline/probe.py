"""A quick look at media files before hours of extraction: do they open, how long are they, where is sound?

Encoders have readers of their own, which are exact (extract/reading). This one reads each file once and keeps the
loudest sample of every tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.error import FFmpegError
from av.stream import Disposition

from pipeline.packets import MAX_PIXELS, RESTART, Packets, channels, open_media

STEP = 0.1
# -60 dB: below the hiss of any recording, above what a codec leaves of digital silence.
SILENT = 1e-3


@dataclass(frozen=True)
class Probe:
    """What a file holds.

    Attributes:
        seconds: its length.
        loudness: the loudest sample of every STEP, [T]; None: no sound track.
        error: why it cannot be read; empty where it can.
        pictures: whether it has a video track; a cover is none.
    """

    seconds: float = 0.0
    loudness: np.ndarray | None = None
    error: str = ""
    pictures: bool = False

    def silent(self, start: float | None, end: float | None) -> bool:
        """Whether a span (None: from the start, to the end) has no sound that can be heard."""
        if self.loudness is None:
            return True
        first = int((start or 0) / STEP)
        part = self.loudness[first : None if end is None else max(first + 1, int(end / STEP))]
        return not (part > SILENT).any()


def probe(path: Path) -> Probe:
    """Decode a file's sound and its first picture; what is wrong with it becomes `error`."""
    try:
        with open_media(path) as container:
            if not container.streams.video and not container.streams.audio:
                return Probe(error="neither sound nor pictures")
            if container.streams.video:
                context = container.streams.video[0].codec_context
                if context.width * context.height > MAX_PIXELS:
                    return Probe(error=f"pictures of {context.width} x {context.height} pixels are too large")
                next(container.decode(video=0))
            pictures = any(not s.disposition & Disposition.attached_pic for s in container.streams.video)
        return replace(_listen(path), pictures=pictures)
    except (FFmpegError, StopIteration, OSError, ValueError) as error:
        return Probe(error=getattr(error, "strerror", None) or "no picture can be decoded")


def _listen(path: Path) -> Probe:
    # Opened anew: sound asked for after pictures were read gives nothing.
    with open_media(path) as container:
        packets = Packets(container)
        tracks = container.streams.audio
        loudest: dict[int, float] = {}
        follows = 0.0
        for packet in packets:
            if not tracks or packet.stream_index != tracks[0].index:
                continue
            frames: list[Any] = packet.decode()
            for frame in frames:
                begins = follows if frame.time is None else frame.time - packets.zero
                follows = begins + frame.samples / frame.sample_rate
                for step, value in _peaks(frame, begins):
                    loudest[step] = max(loudest.get(step, 0.0), value)
        stated = (container.duration or 0) / av.time_base
        # Recordings joined end to end state the length of the first one, and raw streams none.
        length = packets.furthest if packets.furthest > stated + RESTART else stated
    if not tracks:
        return Probe(length)
    loudness = np.zeros(max(loudest, default=-1) + 1, np.float32)
    loudness[list(loudest)] = list(loudest.values())
    return Probe(length, loudness)


def _peaks(frame: AudioFrame, begins: float) -> list[tuple[int, float]]:
    """(number of a step, loudest sample in it, 0…1) of the channels' mean, for the steps that a frame touches."""
    loud = np.abs(channels(frame).mean(0))
    steps = np.maximum(0, ((begins + np.arange(len(loud)) / frame.sample_rate) / STEP).astype(int))
    first = np.flatnonzero(np.diff(steps, prepend=-1))
    return list(zip(steps[first].tolist(), np.maximum.reduceat(loud, first).tolist(), strict=True))
