"""Pictures: as a player shows them, one at a time, so that a long clip in many pixels never lies in memory whole."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from extract.reading.spans import Track, open_track
from pipeline import fragments
from pipeline.packets import seconds

# A picture on screen at a span's start belongs to the span if the next one is not there at once.
STILL = 0.1
# Sound often ends a little after the last picture; a picture that stands for longer fills the span.
RAGGED = 1.0
# No network sees more; a larger picture is shrunk on its way to RGB, so that it takes no memory to speak of.
LONGEST = 2560


def iter_frames(
    path: Path, start: float | None, end: float | None, max_seconds: float = math.inf
) -> Iterator[tuple[float, np.ndarray]]:
    """Every picture of a file or span: (seconds since `start`, RGB [H, W, 3] u1), turned upright, then cut to
    the part of the frame that the path's fragment names, if any. A longer side of more than `LONGEST` is shrunk.

    Raises:
        MediaError: `missing_file`, `corrupt`, `no_face` (no video track), `too_short` (nothing inside the
            span), `too_long`, `failed` (pictures too large to decode).
    """
    file, part = fragments.split(str(path))
    with open_track(Path(file), "video", start, end, max_seconds) as track:
        for at, frame in _shown(track):
            yield at, _rgb(frame, part)


class EvenFrames:
    """The pictures on screen at the middles of `count` equal parts of the clip, each once, so perhaps fewer.

    Times and pictures are as from `iter_frames`, decoded when they are asked for, in order; only the chosen
    ones are turned into RGB. How many they are (`len`) is known before by the packets.

    Raises:
        MediaError: as `iter_frames`.
    """

    def __init__(
        self, path: Path, start: float | None, end: float | None, count: int, max_seconds: float = math.inf
    ) -> None:
        file, self._part = fragments.split(str(path))
        self._span = (Path(file), "video", start, end, max_seconds)
        with open_track(*self._span) as track:
            times, length = _plan(track)
            track.check_length(length)
        self._middles = [(k + 0.5) / count * length for k in range(count)]
        self._len = len({max(0, bisect_right(times, middle) - 1) for middle in self._middles})

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        wanted = self._middles
        with open_track(*self._span) as track:
            shown = _shown(track)
            at, frame = next(shown)
            while wanted:
                following = next(shown, (math.inf, frame))
                left = [moment for moment in wanted if moment >= following[0]]
                if len(left) < len(wanted):
                    yield at, _rgb(frame, self._part)
                wanted, (at, frame) = left, following


def _plan(track: Track) -> tuple[list[float], float]:
    """When the span's pictures are shown (sorted, from 0) and how long it is, in seconds, by its packets.

    Containers are wrong about variable rates.
    """
    times: list[float] = []
    follows = ends = 0.0
    for packet in track.packets():
        if not packet.size or packet.is_discard:
            continue
        times.append(track.shown_at(packet, follows))
        follows = times[-1] + track.length(packet)
        ends = max(ends, follows)
        decoded_at = times[-1] if packet.dts is None else seconds(packet.dts, track.base) - track.zero
        if decoded_at >= track.end:
            break
    else:
        if ends < track.end:
            track.check_whole(ends)
        if ends <= track.start or track.furthest - ends > RAGGED:
            ends = track.furthest
    track.last = max([track.last, *times])
    before = [at for at in times if at < track.start]
    inside = sorted(at for at in times if track.start <= at < track.end)
    if before and (not inside or inside[0] - track.start > STILL):
        inside = [track.start, *inside]
    if not inside or ends <= track.start:
        raise track.nothing("picture")
    return [at - track.start for at in inside], min(ends, track.end) - track.start


def _shown(track: Track) -> Iterator[tuple[float, av.VideoFrame]]:
    """(seconds since `start`, frame) of the pictures on screen during the span, at least one."""
    before = None
    found = False
    stands = False
    for at, frame in track.decode():
        if at >= track.end:
            stands = True
            break
        if at < track.start:
            before = frame
            continue
        if not found and before is not None and at - track.start > STILL:
            yield 0.0, before
        found = True
        yield at - track.start, frame
    if not found:
        if before is None or not (stands or track.start < track.furthest):
            raise track.nothing("picture")
        yield 0.0, before


def _rgb(frame: av.VideoFrame, part: fragments.Box | None) -> np.ndarray:
    scale = LONGEST / max(frame.width, frame.height)
    size: dict[str, Any] = {}
    if scale < 1:
        size = {
            "width": round(frame.width * scale),
            "height": round(frame.height * scale),
            "interpolation": "AREA",
        }
    picture = _upright(frame.to_ndarray(format="rgb24", **size), frame)
    if part is not None:
        picture = picture[part.pixels(*picture.shape[:2])]
    return np.ascontiguousarray(picture)


def _upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """A picture [H, W, 3] as its display matrix asks for it: in quarter turns, mirrored or not.

    The matrix sends the stored pixel (x, y) to (a x + c y, b x + d y), but for a shift.
    """
    try:
        # Not `frame.side_data`, by which a frame of many megabytes holds on to itself.
        matrix: Any = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg]
    except ValueError:  # beside something else that PyAV has no name for
        return np.rot90(picture, round(frame.rotation / 90))
    if matrix is not None:
        a, b, _, c, d = map(int, np.frombuffer(bytes(matrix), np.int32)[:5])
        if abs(a) + abs(d) < abs(b) + abs(c):
            picture, a, d = picture.transpose(1, 0, 2), c, b
        picture = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return picture
