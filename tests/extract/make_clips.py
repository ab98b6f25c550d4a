"""Small real media files for tests, written with PyAV: what a corpus has, and what goes wrong in one."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from extract.contract import Item

TICK = Fraction(1, 1000)


def tone(seconds: float, rate: int = 16000, hertz: float = 440.0) -> np.ndarray:
    """A sine of amplitude .3, [S] f4."""
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def sha256(path: Path) -> str:
    """Return a file's hash as in the table; for a missing file, a hash that no file has."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else path.name.encode()).hexdigest()


def item(path: Path, start: float | None = None, end: float | None = None) -> Item:
    """The item of a clip, named by its file's name."""
    return Item({"media": sha256(path), "start": start, "end": end}, path.name)


def clip(
    path: Path,
    seconds: float = 2.0,
    *,
    times: Sequence[float] | None = None,
    video: bool = True,
    sound: np.ndarray | None = None,
    audio: bool = True,
    rate: int = 16000,
    stereo: bool = False,
    codec: str = "aac",
    faststart: bool = False,
) -> Path:
    """A clip of `seconds` at 25 fps (or with pictures at `times`) and a tone, or `sound` [S] at `rate`.

    Picture k is red above and blue below; its green is its time: 100 for each second.
    """
    moments = [k / 25 for k in range(round(seconds * 25))] if times is None else times
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as container:
        if video:
            pictures = container.add_stream("libx264", rate=25, options={"crf": "10"})
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            pictures.codec_context.time_base = TICK
        if audio:
            added = container.add_stream(codec, rate=rate, layout="stereo" if stereo else "mono")
            assert isinstance(added, AudioStream)
            track = added
        for second in moments if video else ():
            picture = np.zeros((48, 64, 3), np.uint8)
            picture[:24, :, 0] = picture[24:, :, 2] = 255
            picture[:, :, 1] = min(255, round(100 * second))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(second * 1000), TICK
            container.mux(pictures.encode(frame))
        if video:
            container.mux(pictures.encode(None))
        if audio:
            samples = tone(seconds, rate) if sound is None else sound
            kind = "fltp" if codec == "aac" else "s16" if codec == "pcm_s16le" else "flt"
            for at in range(0, len(samples), 1024):
                part = samples[at : at + 1024][None]
                part = np.round(part * 32767).astype(np.int16) if kind == "s16" else part
                part = np.repeat(part, 2 if stereo else 1, 0)
                part = part if kind == "fltp" else np.ascontiguousarray(part.T.reshape(1, -1))
                piece = av.AudioFrame.from_ndarray(part, format=kind, layout="stereo" if stereo else "mono")
                piece.sample_rate, piece.pts = rate, at
                container.mux(track.encode(piece))
            container.mux(track.encode(None))
    return path


def turned(path: Path, quarter_turns: int) -> Path:
    """Mark an mp4 as filmed with the camera turned, as phones do: players turn it clockwise that often."""
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns % 4]
    matrix = [cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd")  # the first track is the video
    data[at + 44 : at + 80] = struct.pack(">9i", *matrix)
    path.write_bytes(bytes(data))
    return path


def cut(path: Path, share: float) -> Path:
    """Keep only the first part of a file, as a broken copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
