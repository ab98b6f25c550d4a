"""Decoding: the one reader of sound and pictures for all encoders (PyAV, which brings FFmpeg along).

Seconds count from the container's start, as a player shows them. Whatever is wrong with a file becomes a
`MediaError` that carries a status and a reason a person understands; nothing is guessed, padded or skipped.
The reason does not name the file, since it is kept for its content, wherever that lies.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from extract.contract import Failure, Item
from pipeline import fragments
from pipeline.fragments import FORMATS
from pipeline.params import Positive, StreamParams
from pipeline.tables.schema import Utterance

# Where a track's length is stored, not guessed from a bitrate, so that a missing end can be told.
MOV = {"mov,mp4,m4a,3gp,3g2,mj2"}
EXACT = MOV | {"wav"}
# Where seeking lands before the wanted moment; the others are read from their beginning.
SEEKABLE = EXACT | {"matroska,webm", "avi"}
MISSING_TOLERATED = 0.25
# So many parts of an MP4 are looked at for its index, which is the first or the last of a few.
MOV_BOXES = 1000
# Sound codecs carry state from packet to packet: start this much earlier and cut.
PREROLL = 0.5


class MediaParams(StreamParams):
    """What every stream of sound or pictures has beside `StreamParams`.

    `max_seconds`: a longer utterance is `too_long`; it is a cutting mistake more often than a speech.
    """

    max_seconds: Positive = 120.0


class MediaError(Exception):
    """A file or span that gives no sound or pictures; `failure` says why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(status, reason)


def media_item(utterance: Utterance, pictures: bool = False) -> Item | Failure:
    """The item of encoders that see a clip: its content's hash and the span, wherever the file lies.

    Args:
        pictures: the encoder sees pictures, so that a part of the frame (pipeline/fragments.py) is of concern.
    """
    if not utterance.media:
        return Failure("missing_file", "the table names no media file for this utterance")
    if not utterance.media_hash:
        return Failure(
            "missing_file",
            f"{utterance.media}: was not there when the tables were prepared",
        )
    content: dict[str, Any] = {"media": utterance.media_hash, "start": utterance.start, "end": utterance.end}
    if pictures and (part := fragments.split(utterance.media)[1]):
        content["part"] = list(part)
    return Item(content, source=utterance.media)


def source(media: Path, item: Item) -> Path:
    """The file of an item, with its part of the picture, if it is still the one that the table hashed.

    Raises:
        MediaError: `missing_file`: it is not there, or another than when the tables were prepared.
    """
    path = media / item.source
    file = Path(fragments.split(str(path))[0])
    try:
        about = file.stat()
        same = item.content["media"] == _sha256(file, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise MediaError("missing_file", f"{item.source}: cannot be read: {error.strerror}") from None
    if not same:
        raise MediaError("missing_file", f"{item.source}: another file than when the tables were prepared")
    return path


@lru_cache(maxsize=1000)
def _sha256(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_audio(
    path: Path, start: float | None, end: float | None, rate: int = 16000, max_seconds: float = math.inf
) -> np.ndarray:
    """The sound of a file, or of its span from `start` to `end` seconds: [S] f4 mono at `rate` Hz, -1…1.

    Channels are mixed and the rate is changed by libswresample. The first sample is the track's first one
    inside the span.

    Raises:
        MediaError: `missing_file`, `corrupt`, `no_audio`, `too_short` (nothing inside the span), `too_long`.
    """
    # To integers: into floats libswresample adds up channels instead of averaging them, which overshoots.
    resampler = av.AudioResampler("s32", "mono", rate)
    chunks: list[np.ndarray] = []
    first = None
    with _open(path, "audio", start, end, max_seconds) as track:
        for seconds, frame in track.decode():
            first = seconds if first is None else first
            if not np.isfinite(frame.to_ndarray()).all():
                raise MediaError("corrupt", "the sound holds values that are no numbers")
            try:
                chunks += [out.to_ndarray()[0] for out in resampler.resample(frame)]
            except ValueError:
                raise MediaError("corrupt", "the sound changes its format midway") from None
        chunks += [out.to_ndarray()[0] for out in resampler.resample(None)] if chunks else []
    if first is None and not start:
        raise MediaError("no_audio", "the audio track is empty")
    if first is None:
        raise track.nothing("sound")
    begin = max(0, round((track.start - first) * rate)) if start else 0
    stop = None if end is None else max(begin, round((end - first) * rate))
    samples = np.concatenate(chunks)[begin:stop].astype(np.float32) / np.float32(2**31)
    if not len(samples):
        raise track.nothing("sound")
    return samples


def iter_frames(
    path: Path, start: float | None, end: float | None, max_seconds: float = math.inf
) -> Iterator[tuple[float, np.ndarray]]:
    """Every picture of a file or span: (seconds since `start`, RGB [H, W, 3] u1), turned upright, then cut to
    the part of the frame that the path's fragment names, if any.

    Raises:
        MediaError: `missing_file`, `corrupt`, `no_face` (no video track), `too_short` (nothing inside the
            span), `too_long`.
    """
    with _open(path, "video", start, end, max_seconds) as track:
        for seconds, frame in track.pictures():
            yield seconds, track.rgb(frame)


def even_frames(
    path: Path, start: float | None, end: float | None, count: int, max_seconds: float = math.inf
) -> list[tuple[float, np.ndarray]]:
    """The pictures on screen at the middles of `count` equal parts of the clip, each once, so perhaps fewer.

    Times and pictures as from `iter_frames`. Decodes once and in order, stops after the last wanted moment,
    and turns only the chosen ones into RGB.

    Raises:
        MediaError: as `iter_frames`.
    """
    with _open(path, "video", start, end, max_seconds) as track:
        length = track.measure() - track.start
        track.check_length(length)
    with _open(path, "video", start, end, max_seconds) as track:
        wanted = [(k + 0.5) / count * length for k in range(count)]
        chosen: list[tuple[float, np.ndarray]] = []
        pictures = track.pictures()
        seconds, frame = next(pictures)
        for following in itertools.chain(pictures, [(math.inf, frame)]):
            left = [moment for moment in wanted if moment >= following[0]]
            if len(left) < len(wanted):
                chosen.append((seconds, track.rgb(frame)))
            if not left:
                break
            wanted, (seconds, frame) = left, following
    return chosen


@dataclass
class _Track:
    """An open file's best stream of one kind, and the span wanted of it; seconds count from `zero`."""

    container: InputContainer
    stream: Any
    start: float
    end: float
    max_seconds: float
    part: fragments.Box | None

    def __post_init__(self) -> None:
        self.zero = (self.container.start_time or 0) / av.time_base
        self.last = 0.0
        self.declared: float | None = None
        if self.stream.duration is not None:
            end = (self.stream.start_time or 0) + self.stream.duration
            self.declared = float(end * self.stream.time_base) - self.zero
        elif self.container.duration:
            self.declared = self.container.duration / av.time_base
        if self.container.format.name in EXACT and self.declared is not None:
            self.last = self.declared
            if self.start >= self.declared:
                raise self.nothing("sound" if self.stream.type == "audio" else "picture")
            self.check_length(min(self.declared, self.end) - self.start)

    def decode(self) -> Iterator[tuple[float, Any]]:
        """(seconds, frame) from a little before `start` to `end`; raises where the file is cut off."""
        self._seek()
        ends = 0.0
        for frame in self.container.decode(self.stream):
            if frame.time is None:
                raise MediaError("corrupt", f"a {self.stream.type} frame has no time stamp")
            seconds = frame.time - self.zero
            if seconds >= self.end:
                return
            sound = self.stream.type == "audio"
            heard = seconds + (frame.samples / frame.sample_rate if sound else 0.0)
            self.last = max(self.last, heard)
            self.check_length(heard - self.start)
            # With a variable rate the last picture may stand for long.
            ends = heard if sound else seconds + float((frame.duration or 0) * (frame.time_base or 0))
            yield seconds, frame
        self._check_whole(ends)

    def measure(self) -> float:
        """Where the span really ends, by the packets' time stamps: containers are wrong about variable rates."""
        self._seek()
        ends = self.start
        for packet in self.container.demux(self.stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None:
                ends = max(ends, float((stamp + (packet.duration or 0)) * packet.time_base) - self.zero)
            if ends >= self.end:
                return self.end
        self._check_whole(ends)
        return ends

    def _seek(self) -> None:
        if self.start and self.container.format.name in SEEKABLE:
            early = PREROLL if self.stream.type == "audio" else 0.0
            self.container.seek(round((self.start - early + self.zero) * av.time_base), backward=True)

    def pictures(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """(seconds since `start`, frame) of the frames inside the span, at least one."""
        found = False
        for seconds, frame in self.decode():
            if seconds >= self.start:
                found = True
                yield seconds - self.start, frame
        if not found:
            raise self.nothing("picture")

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        # A phone's display matrix turns in steps of 90 degrees, counted against the clock.
        picture = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
        if self.part is not None:
            picture = picture[self.part.pixels(*picture.shape[:2])]
        return np.ascontiguousarray(picture)

    def nothing(self, what: str) -> MediaError:
        end = f"and {self.end:g} s" if self.end < math.inf else "and the end"
        reason = f"no {what} between {self.start:g} s {end}; it ends at {self.last:.2f} s"
        return MediaError("too_short", reason)

    def _check_whole(self, ends: float) -> None:
        """A cut-off file whose index came first decodes without a murmur: compare with the index's promise."""
        rate = self.stream.average_rate if self.stream.type == "video" else None
        tolerated = MISSING_TOLERATED + (2 / float(rate) if rate else 0.0)
        if self.container.format.name in EXACT and self.declared and self.declared - ends > tolerated:
            raise MediaError("corrupt", f"cut off after {ends:.2f} of {self.declared:.2f} s")

    def check_length(self, seconds: float) -> None:
        if seconds > self.max_seconds:
            reason = f"at least {seconds:.2f} s, where max_seconds={self.max_seconds:g} are allowed"
            raise MediaError("too_long", reason)


@contextmanager
def _open(
    path: Path, kind: str, start: float | None, end: float | None, max_seconds: float
) -> Iterator[_Track]:
    name, part = fragments.split(str(path))
    path = Path(name)
    begin, finish = start or 0.0, math.inf if end is None else end
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError("corrupt", "the file is empty (0 bytes)")
    except OSError as error:
        raise MediaError("missing_file", f"{path.name}: cannot be read: {error.strerror}") from None
    # "file:" keeps a name such as `a:b.mp4` from being taken for an address.
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except FFmpegError as error:
        raise MediaError("corrupt", f"no media file, or its index is lost ({error.strerror})") from None
    with container:
        if container.format.name in MOV and _ends_in_its_index(path):
            raise MediaError("corrupt", "no media file, or its index is lost (cut off within it)")
        stream = container.streams.best(kind)  # type: ignore[arg-type]
        if stream is None or stream.disposition & Disposition.attached_pic:
            status = "no_audio" if kind == "audio" else "no_face"
            raise MediaError(status, f"the file has no {kind} track")
        if stream.codec_context is None:
            raise MediaError("corrupt", f"nobody knows the codec of the {kind} track")
        stream.codec_context.thread_count = 1
        try:
            yield _Track(container, stream, begin, finish, max_seconds, part)
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
