"""Convert media for browsers: to H.264 and AAC in MP4, or to stills in JPEG."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition

from pipeline.errors import UserError
from pipeline.packets import Packets, open_media, seconds
from pipeline.pixels import aspect
from pipeline.progress import Progress

WIDTH, HEIGHT = 1280, 720  # pixels of a copy, at most
RATE = 48000
BASE = Fraction(1, 90000)  # the clock of a copy's pictures, in seconds
UPSIDE_DOWN = (("hflip", None), ("vflip", None))
TURNS: dict[int, tuple[tuple[str, str | None], ...]] = {
    90: (("transpose", "cclock"),), -90: (("transpose", "clock"),), 180: UPSIDE_DOWN, -180: UPSIDE_DOWN,
}  # fmt: skip
STILL, QUALITY = 240, 70  # pixels of the longer side, quality of JPEG


def tracks(container: InputContainer) -> dict[str, Any]:
    """Return the first video and the first audio track by kind; a cover image is no video."""
    found: dict[str, Any] = {}
    for stream in container.streams:
        if stream.type in ("video", "audio") and not stream.disposition & Disposition.attached_pic:
            found.setdefault(stream.type, stream)
    return found


def convert(path: Path, to: Path, name: str) -> None:
    """Write the first video and audio track of a media file as MP4, and show the progress.

    Pictures get square pixels, are turned upright and shrunk to WIDTH × HEIGHT. The clock begins at 0 as in a player.

    Args:
        path: the media file.
        to: the file to write.
        name: the media file's name in the progress.

    Raises:
        FFmpegError: the file cannot be decoded.
    """
    with open_media(path) as container, av.open(str(to), "w", format="mp4") as output:
        writers: dict[int, _Pictures | _Sound] = {}
        for kind, track in tracks(container).items():
            writers[track.index] = _Sound(output) if kind == "audio" else _Pictures(output, aspect(track))
        length = (container.duration or 0) // av.time_base
        packets = Packets(container)
        with Progress(f"copy of {name}", length, "s") as progress:
            for packet in packets:
                writer = writers.get(packet.stream_index)
                if writer is None:
                    continue
                for frame in packet.decode():
                    writer.write(frame, packets.zero)
                progress.add(max(0.0, min(int(packets.furthest), length) - progress.count))
        for writer in writers.values():
            writer.end()


def stills(path: Path, at: Mapping[str, float]) -> dict[str, str]:
    """Return {key: JPEG data address} with the picture on screen at each time in seconds; empty without pictures.

    Raises:
        FFmpegError: the file cannot be decoded.
    """
    found: dict[str, str] = {}
    with open_media(path) as container:
        track = tracks(container).get("video")
        if track is None:
            return found
        zero = container.start_time or 0
        for key, moment in at.items():
            container.seek(zero + int(moment * av.time_base))
            last = None
            for frame in container.decode(track):
                last = frame
                if frame.time is not None and frame.time - zero / av.time_base >= moment:
                    break
            if last is not None:
                found[key] = _jpeg(last, aspect(track))
    return found


def _jpeg(frame: av.VideoFrame, pixel: Fraction) -> str:
    graph = _graph(frame, pixel, STILL, STILL, "rgb24")
    graph.push(frame)
    done, data = cv2.imencode(
        ".jpg", graph.pull().to_ndarray()[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    if not done:
        raise UserError(
            "OpenCV cannot write JPEG; install opencv-python-headless as pinned in requirements.txt"
        )
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


class _Pictures:
    def __init__(self, output: Any, pixel: Fraction) -> None:
        self._output, self._pixel = output, pixel
        self._stream: Any = None
        self._graph: Any = None
        self._last = -1

    def write(self, frame: Any, zero: float) -> None:
        """Encode a picture; `zero` is the stamp in seconds at which the player's clock begins."""
        if self._stream is None:
            self._graph = _graph(frame, self._pixel, WIDTH, HEIGHT, "yuv420p")
        self._graph.push(frame)
        picture = self._graph.pull()
        if self._stream is None:
            self._stream = self._output.add_stream("libx264", options={"preset": "veryfast", "crf": "26"})
            self._stream.width, self._stream.height = picture.width, picture.height
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = BASE
        at = 0 if frame.pts is None else round((seconds(frame.pts, frame.time_base) - zero) / BASE)
        self._last = max(at, self._last + 1)
        picture.pts, picture.time_base = self._last, BASE
        self._output.mux(self._stream.encode(picture))

    def end(self) -> None:
        if self._stream is not None:
            self._output.mux(self._stream.encode(None))


class _Sound:
    def __init__(self, output: Any) -> None:
        self._output = output
        self._stream = output.add_stream("aac", rate=RATE, layout="stereo")
        self._resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)

    def write(self, frame: Any, zero: float) -> None:
        """Encode samples; `zero` is the stamp in seconds at which the player's clock begins."""
        if frame.pts is not None:
            frame.pts -= round(zero / frame.time_base)
        for part in self._resampler.resample(frame):
            self._output.mux(self._stream.encode(part))

    def end(self) -> None:
        for part in self._resampler.resample(None):
            self._output.mux(self._stream.encode(part))
        self._output.mux(self._stream.encode(None))


def _graph(frame: av.VideoFrame, pixel: Fraction, width: int, height: int, pixels: str) -> Graph:
    """Return a graph that turns frames like `frame` upright, shrinks them to fit a box, and converts their pixels.

    Args:
        frame: the first picture.
        pixel: the width of its pixels divided by their height; the graph makes them square.
        width: of the box, in pixels.
        height: of the box, in pixels.
        pixels: the format of the graph's pixels.
    """
    angle = round(frame.rotation / 90) * 90
    shown = float(frame.width * pixel)
    size = (frame.height, shown) if angle % 180 else (shown, frame.height)
    # H.264 needs even sizes.
    scale = min(1.0, width / size[0], height / size[1])
    across, down = (max(2, round(side * scale / 2) * 2) for side in size)
    graph = Graph()
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or BASE
    )
    for name, args in (*TURNS.get(angle, ()), ("scale", f"{across}:{down}"), ("format", pixels)):
        node = graph.add(name, args)
        last.link_to(node)
        last = node
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
