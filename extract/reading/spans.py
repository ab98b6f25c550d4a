"""Reading a span of one track of a media file: packets and frames, with the seconds at which a player shows them.

Seconds count from the container's start. Any problem with a file raises `MediaError`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition

from extract.reading.media import MediaError
from pipeline.packets import MAX_PIXELS, Packets, open_media, seconds

# Formats that store a track's length, so that a missing end can be detected. Others estimate it from the bit rate.
MOV = {"mov,mp4,m4a,3gp,3g2,mj2"}
EXACT = MOV | {"wav"}
MATROSKA = "matroska,webm"
MISSING_TOLERATED = 0.25
# The number of boxes of an MP4 file to search for its index, which is usually among the first or the last few.
MOV_BOXES = 1000
# Seconds before the span at which to start decoding, because sound codecs carry state from packet to packet.
PREROLL = 0.5
# Sound codecs whose output depends, bit for bit, on nothing older than `PREROLL`. Earlier packets can be skipped.
FORGETFUL = {"flac", "mp3", "mp3float", "vorbis"}
# Video codecs in which no picture after a key picture depends on one before it.
INDEPENDENT = {"vp8", "vp9", "libdav1d", "av1"}
# Time stamps of sound are off by up to a codec's frame (36 ms). A larger difference is a gap in the recording.
GAP = 0.04


class Track:
    """The best stream of one kind in an open file, and the span to read.

    Attributes:
        last: the end of the sound or pictures found so far in seconds, for messages.
    """

    def __init__(
        self, container: InputContainer, stream: Any, start: float, end: float, max_seconds: float
    ) -> None:
        self.container, self.stream = container, stream
        self.start, self.end, self.max_seconds = start, end, max_seconds
        self.sound = stream.type == "audio"
        self.base: Fraction = stream.time_base
        self._packets = Packets(container)
        self.zero = self._packets.zero
        self.last = 0.0
        self.declared: float | None = None
        if stream.duration is not None:
            ends = (stream.start_time or 0) + stream.duration
            self.declared = seconds(ends, self.base) - self.zero
        elif container.duration:
            self.declared = container.duration / av.time_base
        if container.format.name in EXACT and self.declared is not None:
            self.last = self.declared
            if self.sound and start >= self.declared:
                raise self.nothing("sound")
            self.check_length(min(self.declared, end) - start)

    @property
    def furthest(self) -> float:
        """The end of the packets read so far in seconds, over all streams."""
        return self._packets.furthest

    def packets(self) -> Iterator[Packet[Any]]:
        """Yield this stream's packets from `start`, or from the latest earlier packet at which decoding can begin."""
        if self._seeks:
            early = PREROLL if self.sound else 0.0
            self.container.seek(round((self.start - early + self.zero) * av.time_base), backward=True)
        held: list[Packet[Any]] = []  # packets since the last key picture before `start`
        skips = not self.sound and not self._seeks and self.stream.codec_context.name in INDEPENDENT
        for packet in self._packets:
            if packet.stream_index != self.stream.index:
                continue
            if skips and self.shown_at(packet, math.inf) < self.start:
                held = [packet] if packet.is_keyframe else [*held, packet]
                continue
            yield from held
            held = []
            yield packet

    def shown_at(self, packet: Packet[Any], follows: float) -> float:
        """Return the second at which a packet's frame is shown; `follows` is the end of the frame before it."""
        stamp = packet.dts if packet.pts is None or self._in_decoding_order else packet.pts
        return follows if stamp is None else seconds(stamp, self.base) - self.zero

    def length(self, packet: Packet[Any]) -> float:
        """Return a packet's duration in seconds; 0 if the file does not state it."""
        return seconds(packet.duration or 0, self.base)

    def decode(self) -> Iterator[tuple[float, Any]]:
        """Yield (seconds, frame) from shortly before `start` to the first frame at or after `end`, inclusive.

        In sound without gaps, the seconds of a frame come from the number of samples before it.

        Raises:
            MediaError: `corrupt` if the file is truncated, or `too_long`.
        """
        follows, began = 0.0, False
        due: deque[float] = deque()
        for packet in self.packets():
            if began and self._is_skipped(packet):
                follows = self.shown_at(packet, follows) + self.length(packet)
                self.last = max(self.last, follows)
                continue
            if self._in_decoding_order and packet.dts is not None:
                due.append(self.shown_at(packet, follows))
            frames: list[Any] = packet.decode()
            for frame in frames:
                at = follows if frame.time is None else frame.time - self.zero
                if due:
                    at = due.popleft()
                if self.sound and began and (self._counted or abs(at - follows) <= GAP):
                    at = follows
                began = True
                if at >= self.end:
                    yield at, frame
                    return
                if self.sound:
                    follows = heard = at + frame.samples / frame.sample_rate
                else:
                    # A picture's duration does not count, because at a variable rate the last one may be long.
                    follows, heard = at + float((frame.duration or 0) * (frame.time_base or 0)), at
                self.last = max(self.last, heard)
                self.check_length(heard - self.start)
                yield at, frame
        self.check_whole(follows)

    def nothing(self, what: str) -> MediaError:
        """Return the error `too_short`, which says that the span has no `what`."""
        end = f"and {self.end:g} s" if self.end < math.inf else "and the end"
        reason = f"no {what} between {self.start:g} s {end}; the track ends at {self.last:.2f} s"
        return MediaError("too_short", reason)

    def check_whole(self, ends: float) -> None:
        """Raise `MediaError` if the track ends, at second `ends`, clearly before the length that the file states.

        A truncated file whose index comes first decodes without an error.
        """
        rate = None if self.sound else self.stream.average_rate
        tolerated = MISSING_TOLERATED + (2 / float(rate) if rate else 0.0)
        if self.container.format.name in EXACT and self.declared and self.declared - ends > tolerated:
            raise MediaError("corrupt", f"truncated after {ends:.2f} of {self.declared:.2f} s")

    def check_length(self, seconds: float) -> None:
        """Raise `MediaError` (`too_long`) if `seconds` exceeds `max_seconds`."""
        if seconds > self.max_seconds:
            reason = f"at least {seconds:.2f} s long, more than max_seconds={self.max_seconds:g}"
            raise MediaError("too_long", reason)

    @cached_property
    def _seeks(self) -> bool:
        """Whether FFmpeg can seek to a packet before `start`; otherwise reading starts at the file's beginning."""
        name = self.container.format.name
        if not self.start:
            return False
        if name == "wav":
            return self._byte_rate_is_right()
        if name == "avi":
            return not self._in_decoding_order and not self._rate_is_wrong()
        if name == MATROSKA:  # a second recording may follow after the stated duration
            return self.start < (self.container.duration or 0) / av.time_base
        return name in MOV

    def _byte_rate_is_right(self) -> bool:
        """Return whether a WAV's header states the true byte rate, which FFmpeg seeks by.

        Some recorders write a wrong one.
        """
        context = self.stream.codec_context
        bits = int("".join(filter(str.isdigit, context.name)) or 8)  # pcm_s16le, pcm_mulaw
        right = context.sample_rate * context.layout.nb_channels * bits
        return bool(context.name.startswith("pcm_") and self.stream.bit_rate == right)

    def _rate_is_wrong(self) -> bool:
        """Return whether an AVI states different rates for its index and for its samples."""
        context = self.stream.codec_context
        return bool(context.name.startswith("pcm_") and self.base * context.sample_rate != 1)

    @property
    def _counted(self) -> bool:
        """Whether time stamps of sound are a count of bytes, as in an AVI, so that there are no gaps."""
        return self.sound and self.container.format.name == "avi"

    @property
    def _in_decoding_order(self) -> bool:
        """Whether time stamps are in decoding order: H.264 and H.265 in an AVI, where they count packets."""
        context = self.stream.codec_context
        return (
            not self.sound
            and self.container.format.name == "avi"
            and context.name in ("h264", "hevc")
            and bool(context.has_b_frames)
        )

    @cached_property
    def _skips(self) -> bool:
        """Whether sound long before the span can be skipped, because time stamps give each sample's position."""
        context = self.stream.codec_context
        if not self.sound:
            return False
        if self.container.format.name == MATROSKA:
            return not self._seeks
        return context.name in FORGETFUL and (1 / (self.base * context.sample_rate)).denominator == 1

    def _is_skipped(self, packet: Packet[Any]) -> bool:
        if not self._skips or not packet.duration or packet.pts is None:
            return False
        return seconds(packet.pts + packet.duration, self.base) - self.zero < self.start - PREROLL


@contextmanager
def open_track(
    path: Path, kind: Literal["audio", "video"], start: float | None, end: float | None, max_seconds: float
) -> Iterator[Track]:
    """Open the best `audio` or `video` track of a file for a span in seconds; `path` has no fragment.

    Raises:
        MediaError: the file has no such track or is damaged, also if reading the track fails later.
    """
    begin, finish = start or 0.0, math.inf if end is None else end
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError("corrupt", "the file is empty (0 bytes)")
    except OSError as error:
        raise MediaError("missing_file", f"{path.name}: cannot be read: {error.strerror}") from None
    try:
        container = open_media(path)
    except FFmpegError as error:
        raise MediaError("corrupt", f"not a media file, or its index is missing ({error.strerror})") from None
    with container:
        if container.format.name in MOV and _ends_in_its_index(path):
            raise MediaError(
                "corrupt", "not a media file, or its index is missing (truncated within the index)"
            )
        stream = container.streams.best(kind)
        if stream is None or stream.disposition & Disposition.attached_pic:
            status = "no_audio" if kind == "audio" else "no_face"
            raise MediaError(status, f"the file has no {kind} track")
        context: Any = stream.codec_context
        if context is None:
            raise MediaError("corrupt", f"the codec of the {kind} track is unknown")
        context.thread_count = 1
        if kind == "video":
            if context.width * context.height > MAX_PIXELS:
                size = f"{context.width} x {context.height} pixels"
                raise MediaError(
                    "failed", f"pictures of {size}, more than the limit of {MAX_PIXELS:,} pixels"
                )
            context.options = {"max_pixels": str(MAX_PIXELS)}  # for a picture size that changes midway
        try:
            yield Track(container, stream, begin, finish, max_seconds)
        except FFmpegError as error:
            raise MediaError("corrupt", f"damaged {kind} track ({error.strerror})") from None


def _ends_in_its_index(path: Path) -> bool:
    """Return whether an MP4 or QuickTime file ends within its index, the `moov` box.

    FFmpeg would open such a file with only the tracks that the remaining part names.
    """
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(MOV_BOXES):
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # a 64-bit length follows the box's name
                length = int.from_bytes(head[8:16], "big")
            if head[4:8] == b"moov":
                return at + length > size
            if length < 8:
                return False
            at += length
    return False
