"""Read the sound of a recording from start to end, in constant memory, as a recogniser needs it.

Encoders use the exact readers of extract/reading. This reader only has to agree with them on time: second 0 is where a
player's clock begins, and gaps in the recording are silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.error import FFmpegError

from pipeline.packets import Packets, channels, open_media

RATE = 16_000
# Time stamps of sound are off by up to a codec's frame; a larger difference is a gap in the recording.
GAP = 0.04
LONGEST = 1e9  # seconds, instead of infinity


class Unreadable(Exception):
    """The recording has no sound that can be read; the message says why."""


def read(path: Path) -> Iterator[np.ndarray]:
    """Yield the sound of a recording in consecutive pieces, each [S] f4, -1…1: the mean of all channels at RATE.

    Raises:
        Unreadable: the file is missing or damaged, or has no sound track.
    """
    try:
        with open_media(path) as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise Unreadable("no sound track")
            packets = Packets(container)
            frames = _frames(packets, stream.index)
            yield from _resampled(frames, packets.zero)
    except (FFmpegError, OSError, ValueError) as error:
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from None


def cuts(path: Path, spans: Sequence[tuple[float, float]]) -> Iterator[np.ndarray]:
    """Yield the sound of each span, as `read` does; the sound between spans is not kept.

    Args:
        path: the recording.
        spans: starts and ends in seconds, in the order of the starts; an end may be infinite.

    Raises:
        Unreadable: see `read`.
    """
    pieces = read(path)
    held = np.zeros(0, np.float32)
    at = 0  # samples before `held`
    for start, end in spans:
        first, last = round(start * RATE), round(min(end, LONGEST) * RATE)
        more = [held[max(0, first - at) :]]
        at += len(held) - len(more[0])
        count = len(more[0])
        while at + count < last and (piece := next(pieces, None)) is not None:
            kept = piece[max(0, first - at) :] if not count else piece
            at += 0 if count else len(piece) - len(kept)
            count += len(kept)
            if len(kept):  # an empty slice would keep the whole piece in memory
                more.append(kept)
        held = np.concatenate(more)
        yield held[max(0, first - at) : max(0, last - at)]


def _frames(packets: Packets, index: int) -> Iterator[AudioFrame]:
    for packet in packets:
        if packet.stream_index == index:
            decoded: list[Any] = packet.decode()
            yield from decoded


def _resampled(frames: Iterator[AudioFrame], zero: float) -> Iterator[np.ndarray]:
    ends = 0.0  # seconds of the sound so far
    resampler, rate = None, 0
    for frame in frames:
        gap = 0.0 if frame.time is None else max(0.0, frame.time - zero - ends)
        if resampler is None or frame.sample_rate != rate or gap > GAP:
            if resampler is not None:
                yield from _samples(resampler.resample(None))
            resampler, rate = av.AudioResampler("flt", "mono", RATE), frame.sample_rate
        if gap > GAP:
            yield np.zeros(round(gap * RATE), np.float32)
            ends += gap
        mono = AudioFrame.from_ndarray(channels(frame).mean(0, keepdims=True), "dbl", "mono")
        mono.sample_rate = rate
        yield from _samples(resampler.resample(mono))
        ends += frame.samples / rate
    if resampler is not None:
        yield from _samples(resampler.resample(None))


def _samples(frames: list[AudioFrame]) -> Iterator[np.ndarray]:
    for frame in frames:
        yield np.nan_to_num(frame.to_ndarray()[0])


def length(path: Path) -> float:
    """Return the length of a recording in seconds as its container states it; 0 if it does not."""
    try:
        with open_media(path) as container:
            return (container.duration or 0) / av.time_base
    except (FFmpegError, OSError):
        return 0.0
