"""Probe media files before hours of extraction: whether they open, their duration, and where they have audio.

This reader is approximate: it reads each file once and keeps the loudest sample of every 0.1 s. Encoders use exact
readers (extract/reading).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.error import FFmpegError
from av.stream import Disposition

from pipeline import fragments
from pipeline.packets import MAX_PIXELS, RESTART, Packets, channels, open_media

STEP = 0.1
# -60 dB: below the noise of any recording, above a codec's residue of digital silence.
SILENT = 1e-3


@dataclass(frozen=True)
class Probe:
    """The content of a media file.

    Attributes:
        seconds: the duration.
        loudness: the loudest sample of every STEP, [1 + C, T]: of the mean of all channels, then of each channel;
            None without an audio track.
        error: why the file cannot be read; empty if it can.
        pictures: whether it has a video track; a cover image does not count.
    """

    seconds: float = 0.0
    loudness: np.ndarray | None = None
    error: str = ""
    pictures: bool = False

    def has(self, channel: str | None) -> bool:
        """Return whether there is an audio track with a channel; None means any channel."""
        return self._row(channel) is not None

    def silent(self, start: float | None, end: float | None, channel: str | None = None) -> bool:
        """Return whether a span has no audible sound.

        Args:
            start: in seconds; None means the file's start.
            end: in seconds; None means the file's end.
            channel: as in a fragment; None means the mean of all channels.
        """
        row = self._row(channel)
        if self.loudness is None or row is None:
            return True
        first = int((start or 0) / STEP)
        part = self.loudness[row, first : None if end is None else max(first + 1, int(end / STEP))]
        return not (part > SILENT).any()

    def _row(self, channel: str | None) -> int | None:
        if self.loudness is None:
            return None
        if channel is None:
            return 0
        at = fragments.position(channel, len(self.loudness) - 1)
        return None if at is None else 1 + at


def probe(path: Path) -> Probe:
    """Decode a file's audio and its first picture; a failure is returned as `error`."""
    try:
        with open_media(path) as container:
            if not container.streams.video and not container.streams.audio:
                return Probe(error="neither audio nor video")
            if container.streams.video:
                context = container.streams.video[0].codec_context
                if context.width * context.height > MAX_PIXELS:
                    return Probe(error=f"pictures of {context.width} x {context.height} pixels are too large")
                next(container.decode(video=0))
            pictures = any(not s.disposition & Disposition.attached_pic for s in container.streams.video)
        return replace(_listen(path), pictures=pictures)
    except (FFmpegError, StopIteration, OSError, ValueError) as error:
        return Probe(error=getattr(error, "strerror", None) or "the video cannot be decoded")


def _listen(path: Path) -> Probe:
    # Opened again: a container yields no audio after its video was decoded.
    with open_media(path) as container:
        packets = Packets(container)
        tracks = container.streams.audio
        loudest: dict[tuple[int, int], float] = {}
        follows = 0.0
        for packet in packets:
            if not tracks or packet.stream_index != tracks[0].index:
                continue
            frames: list[Any] = packet.decode()
            for frame in frames:
                begins = follows if frame.time is None else frame.time - packets.zero
                follows = begins + frame.samples / frame.sample_rate
                for place, value in _peaks(frame, begins):
                    loudest[place] = max(loudest.get(place, 0.0), value)
        stated = (container.duration or 0) / av.time_base
        # Concatenated recordings state the duration of the first one, and raw streams state none.
        length = packets.furthest if packets.furthest > stated + RESTART else stated
    if not tracks:
        return Probe(length)
    rows = max((row for row, _ in loudest), default=0) + 1
    steps = max((step for _, step in loudest), default=-1) + 1
    loudness = np.zeros((rows, steps), np.float32)
    for place, value in loudest.items():
        loudness[place] = value
    return Probe(length, loudness)


def _peaks(frame: AudioFrame, begins: float) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield ((row, step), loudest sample in 0…1) for each step that a frame overlaps; rows as in `Probe.loudness`."""
    samples = channels(frame)
    loud = np.abs(np.vstack([samples.mean(0), samples]))
    steps = np.maximum(0, ((begins + np.arange(samples.shape[1]) / frame.sample_rate) / STEP).astype(int))
    first = np.flatnonzero(np.diff(steps, prepend=-1))
    for row, peaks in enumerate(np.maximum.reduceat(loud, first, axis=1)):
        yield from (((row, int(step)), float(peak)) for step, peak in zip(steps[first], peaks, strict=True))
