"""Open media files, put their packets on one clock, and convert samples to numbers (PyAV, which includes FFmpeg).

Time stamps jump back where recordings were concatenated or a recorder restarted. Players play such parts one after
another. This clock does the same: a part begins where the previous parts end.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet

from pipeline.fragments import FORMATS

# The largest picture of H.264 and H.265 (level 6.2); a larger one takes gigabytes to decode.
MAX_PIXELS = 8192 * 4352
# Stamps of packets in order never go back, except where the library guesses them: by 0.1 s in Matroska.
RESTART = 0.5
# Broadcast streams may also jump ahead, to the clock of another part. FFmpeg uses the same limit.
JUMP = 10.0
JUMPING = {"mpegts", "mpeg"}


def open_media(path: Path) -> InputContainer:
    """Open a file whose content has one of `FORMATS`, whatever its suffix.

    Raises:
        FFmpegError: if it has another format, or its index is missing.
    """
    # Without "file:", FFmpeg would read a name such as `a:b.mp4` as a URL.
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    return av.open(f"file:{path}", container_options=options, metadata_errors="replace")


def seconds(ticks: int, base: Fraction) -> float:
    """Convert a time stamp to seconds with a single rounding."""
    return ticks * base.numerator / base.denominator


def channels(frame: AudioFrame) -> np.ndarray:
    """Return a frame's samples, [C, S] f8 in -1…1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    zero = 128 if values.dtype == np.uint8 else 0
    return (values.astype(np.float64) - zero) / 2.0 ** (8 * values.itemsize - 1)


class Packets:
    """The audio and video packets in file order, from the container's current position.

    Attributes:
        zero: the stamp at which a player's clock begins, in seconds.
        furthest: the latest end of the packets read so far, in seconds from `zero`.
    """

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self.zero = (container.start_time or 0) / av.time_base
        self.furthest = 0.0
        self._may_jump = container.format.name in JUMPING

    def __iter__(self) -> Iterator[Packet[Any]]:
        container = self._container
        tracks = [stream for stream in container.streams if stream.type in ("audio", "video")]
        bases = {stream.index: stream.time_base for stream in tracks}
        shifts = [0.0]  # seconds to add to the stamps of each part
        latest: dict[int, tuple[int, float]] = {}  # a stream's part, and its latest stamp there
        for packet in container.demux(tracks):
            base, pts, dts = bases[packet.stream_index], packet.pts, packet.dts
            stamp = pts if dts is None else dts
            if stamp is not None and base is not None:
                at = seconds(stamp, base)
                part, last = latest.get(packet.stream_index, (len(shifts) - 1, at))
                if at < last - RESTART or self._jumps(at, latest, part):
                    part, last = part + 1, at
                    if part == len(shifts):
                        shifts.append(self.furthest + self.zero - at)
                latest[packet.stream_index] = part, max(last, at)
                if shifts[part]:
                    ticks = round(shifts[part] / base)
                    packet.dts = dts if dts is None else dts + ticks
                    packet.pts = pts if pts is None else pts + ticks
                shown = stamp if pts is None else pts
                ends = seconds(shown + (packet.duration or 0), base) + shifts[part] - self.zero
                self.furthest = max(self.furthest, ends)
            yield packet

    def _jumps(self, at: float, latest: dict[int, tuple[int, float]], part: int) -> bool:
        if not self._may_jump or not latest:
            return False
        return at > max((last for of, last in latest.values() if of == part), default=at) + JUMP
