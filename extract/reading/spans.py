"""A span of one track of a media file: its packets and frames, with the seconds at which a player gives them.

Seconds count from the container's start. Whatever is wrong with a file becomes a `MediaError`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition

from extract.reading.media import MediaError
from pipeline.packets import MAX_PIXELS, Packets, open_media, seconds

# Where a track's length is stored, not guessed from a bitrate, so that a missing end can be told.
MOV = {"mov,mp4,m4a,3gp,3g2,mj2"}
EXACT = MOV | {"wav"}
MATROSKA = "matroska,webm"
MISSING_TOLERATED = 0.25
# So many parts of an MP4 are looked at for its index, which is the first or the last of a few.
MOV_BOXES = 1000
# Sound codecs carry state from packet to packet: start this much earlier and cut.
PREROLL = 0.5
# Codecs whose sound depends on nothing older than `PREROLL`, to the bit: what is not wanted need not be decoded.
FORGETFUL = {"flac", "mp3", "mp3float", "vorbis"}
# Codecs of pictures in which nothing behind a key picture depends on what came before.
INDEPENDENT = {"vp8", "vp9", "libdav1d", "av1"}
# Stamps of sound are off by up to a codec's frame (36 ms); what is more was lost, or was never recorded.
GAP = 0.04


class Track:
    """An open file's best stream of one kind, and the span wanted of it.

    Attributes:
        last: where what was found so far ends, for messages.
        furthest: where the packets seen so far end, those of other streams too.
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
        return self._packets.furthest

    def packets(self) -> Iterator[Packet[Any]]:
        """This stream's packets from `start`, or from wherever before it decoding can begin."""
        if self._seeks:
            early = PREROLL if self.sound else 0.0
            self.container.seek(round((self.start - early + self.zero) * av.time_base), backward=True)
        held: list[Packet[Any]] = []  # since the last picture before `start` that depends on no other
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
        """Seconds at which a packet's frame is due; `follows`: where the frame before it ends."""
        stamp = packet.dts if packet.pts is None or self._in_decoding_order else packet.pts
        return follows if stamp is None else seconds(stamp, self.base) - self.zero

    def length(self, packet: Packet[Any]) -> float:
        return seconds(packet.duration or 0, self.base)

    def decode(self) -> Iterator[tuple[float, Any]]:
        """(seconds, frame) from a little before `start` to the first one at or behind `end`, that included.

        Sound that goes on without a gap has the seconds of its count of samples.

        Raises:
            MediaError: `corrupt`: the file is cut off before its end; `too_long`.
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
                    # With a variable rate the last picture may stand for long.
                    follows, heard = at + float((frame.duration or 0) * (frame.time_base or 0)), at
                self.last = max(self.last, heard)
                self.check_length(heard - self.start)
                yield at, frame
        self.check_whole(follows)

    def nothing(self, what: str) -> MediaError:
        end = f"and {self.end:g} s" if self.end < math.inf else "and the end"
        reason = f"no {what} between {self.start:g} s {end}; it ends at {self.last:.2f} s"
        return MediaError("too_short", reason)

    def check_whole(self, ends: float) -> None:
        """A cut-off file whose index came first decodes without a murmur: compare with the index's promise."""
        rate = None if self.sound else self.stream.average_rate
        tolerated = MISSING_TOLERATED + (2 / float(rate) if rate else 0.0)
        if self.container.format.name in EXACT and self.declared and self.declared - ends > tolerated:
            raise MediaError("corrupt", f"cut off after {ends:.2f} of {self.declared:.2f} s")

    def check_length(self, seconds: float) -> None:
        if seconds > self.max_seconds:
            reason = f"at least {seconds:.2f} s, where max_seconds={self.max_seconds:g} are allowed"
            raise MediaError("too_long", reason)

    @cached_property
    def _seeks(self) -> bool:
        """Whether the library can be asked for `start` and lands before it; else reading begins at the beginning."""
        name = self.container.format.name
        if not self.start:
            return False
        if name == "wav":
            return self._byte_rate_is_right()
        if name == "avi":
            return not self._in_decoding_order and not self._rate_is_wrong()
        if name == MATROSKA:  # behind the length it states lies another recording
            return self.start < (self.container.duration or 0) / av.time_base
        return name in MOV

    def _byte_rate_is_right(self) -> bool:
        """A WAV is sought in by the byte rate of its header, which some recorders write wrong."""
        context = self.stream.codec_context
        bits = int("".join(filter(str.isdigit, context.name)) or 8)  # pcm_s16le, pcm_mulaw
        right = context.sample_rate * context.layout.nb_channels * bits
        return bool(context.name.startswith("pcm_") and self.stream.bit_rate == right)

    def _rate_is_wrong(self) -> bool:
        """An AVI has a rate for its index and one for its samples."""
        context = self.stream.codec_context
        return bool(context.name.startswith("pcm_") and self.base * context.sample_rate != 1)

    @property
    def _counted(self) -> bool:
        """An AVI knows no gap: its stamps are a count of bytes."""
        return self.sound and self.container.format.name == "avi"

    @property
    def _in_decoding_order(self) -> bool:
        """H.264 in an AVI has stamps that count packets, and the library does not know whose picture is shown when."""
        context = self.stream.codec_context
        return (
            not self.sound
            and self.container.format.name == "avi"
            and context.name in ("h264", "hevc")
            and bool(context.has_b_frames)
        )

    @cached_property
    def _skips(self) -> bool:
        """Whether sound far before the span need not be decoded: the stamps tell each sample's place."""
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
    path: Path, kind: str, start: float | None, end: float | None, max_seconds: float
) -> Iterator[Track]:
    """The best `audio` or `video` track of a file (of a path without a fragment), for the span in seconds.

    Raises:
        MediaError: also for what goes wrong while the track is read.
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
        raise MediaError("corrupt", f"no media file, or its index is lost ({error.strerror})") from None
    with container:
        if container.format.name in MOV and _ends_in_its_index(path):
            raise MediaError("corrupt", "no media file, or its index is lost (cut off within it)")
        stream = container.streams.best(kind)  # type: ignore[arg-type]
        if stream is None or stream.disposition & Disposition.attached_pic:
            status = "no_audio" if kind == "audio" else "no_face"
            raise MediaError(status, f"the file has no {kind} track")
        context: Any = stream.codec_context
        if context is None:
            raise MediaError("corrupt", f"nobody knows the codec of the {kind} track")
        context.thread_count = 1
        if kind == "video":
            if context.width * context.height > MAX_PIXELS:
                size = f"{context.width} x {context.height} pixels"
                raise MediaError("failed", f"pictures of {size}; at most {MAX_PIXELS:,} pixels are decoded")
            context.options = {"max_pixels": str(MAX_PIXELS)}  # of a size that changes midway
        try:
            yield Track(container, stream, begin, finish, max_seconds)
        except FFmpegError as error:
            raise MediaError("corrupt", f"damaged {kind} track ({error.strerror})") from None


def _ends_in_its_index(path: Path) -> bool:
    """Whether an MP4 or QuickTime file ends within its `moov` box: FFmpeg takes tracks named before that for all."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(MOV_BOXES):
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # a long one, its length behind its name
                length = int.from_bytes(head[8:16], "big")
            if head[4:8] == b"moov":
                return at + length > size
            if length < 8:
                return False
            at += length
    return False
