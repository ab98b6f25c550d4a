"""A quick look at media files before hours of extraction: do they open, how long are they, where is sound?

Not the reader that encoders use (that is `extract/reading/media.py`, which decodes exactly); this one reads each file
once and keeps the loudest sample of every tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition

from pipeline.fragments import FORMATS

STEP = 0.1
RATE = 8000
# -60 dB: below the hiss of any recording, above what a codec leaves of digital silence.
SILENT = 1e-3
OPEN: dict[str, Any] = {"container_options": {"format_whitelist": FORMATS}, "metadata_errors": "replace"}


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
        with av.open(f"file:{path}", **OPEN) as container:
            seconds = (container.duration or 0) / av.time_base
            if not container.streams.video and not container.streams.audio:
                return Probe(error="neither sound nor pictures")
            if container.streams.video:
                next(container.decode(video=0))
            pictures = any(not s.disposition & Disposition.attached_pic for s in container.streams.video)
        return Probe(seconds, _loudness(path), pictures=pictures)
    except (FFmpegError, StopIteration, OSError, ValueError) as error:
        return Probe(error=getattr(error, "strerror", None) or "no picture can be decoded")


def _loudness(path: Path) -> np.ndarray | None:
    # Opened anew: sound asked for after pictures were read gives nothing.
    with av.open(f"file:{path}", **OPEN) as container:
        if not container.streams.audio:
            return None
        resampler = av.AudioResampler("flt", "mono", RATE)
        chunks = [
            np.abs(out.to_ndarray()[0])
            for frame in [*container.decode(audio=0), None]
            for out in resampler.resample(frame)
        ]
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    size = round(RATE * STEP)
    return np.pad(samples, (0, -len(samples) % size)).reshape(-1, size).max(axis=1, initial=0)
