"""Reading pictures as a player shows them, one at a time, so that memory does not grow with the clip's length."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from extract.reading.spans import Track, open_track
from pipeline import fragments
from pipeline.packets import seconds
from pipeline.pixels import aspect

# The picture on screen at a span's start counts if the next one follows more than this many seconds later.
STILL = 0.1
# If sound ends at most this many seconds after the last picture, the clip ends with the picture, else with the sound.
RAGGED = 1.0
# Larger pictures are shrunk when they are converted to RGB, to save memory. No network uses a higher resolution.
LONGEST = 2560


def iter_frames(
    path: Path, start: float | None, end: float | None, max_seconds: float = math.inf
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield every picture of a file or span as (seconds since `start`, RGB [H, W, 3] u1).

    Pixels that are not square are made square, at the picture's height. A picture whose longer side exceeds `LONGEST`
    is shrunk to it. It is then turned upright, and cropped to the part that the path's fragment names, if any.

    Raises:
        MediaError: `missing_file`, `corrupt`, `no_face` (no video track), `too_short` (no picture inside the span),
            `too_long`, or `failed` (pictures too large to decode).
    """
    cell = fragments.split(str(path))
    with open_track(Path(cell.file), "video", start, end, max_seconds) as track:
        for at, frame in _shown(track):
            yield at, _rgb(frame, aspect(track.stream), cell.box)


class EvenFrames:
    """The pictures on screen at the middles of `count` equal parts of a clip, without repetition.

    There are fewer than `count` if a picture is on screen in several parts. Iteration decodes the pictures in order
    and yields them as `iter_frames` does; only selected pictures are converted to RGB. `unconverted` leaves the
    conversion to the caller. `len` is known before decoding, from the packets.

    Raises:
        MediaError: as `iter_frames`.
    """

    def __init__(
        self, path: Path, start: float | None, end: float | None, count: int, max_seconds: float = math.inf
    ) -> None:
        cell = fragments.split(str(path))
        self._part = cell.box
        self._open = partial(open_track, Path(cell.file), "video", start, end, max_seconds)
        with self._open() as track:
            times, length = _plan(track)
            track.check_length(length)
        self._middles = [(k + 0.5) / count * length for k in range(count)]
        self._len = len({max(0, bisect_right(times, middle) - 1) for middle in self._middles})

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        return ((at, convert()) for at, convert in self.unconverted())

    def unconverted(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        """Yield each picture as (seconds, a function that returns its RGB [H, W, 3] u1)."""
        wanted = self._middles
        with self._open() as track:
            shown = _shown(track)
            at, frame = next(shown)
            while wanted:
                following = next(shown, (math.inf, frame))
                left = [moment for moment in wanted if moment >= following[0]]
                if len(left) < len(wanted):
                    yield at, partial(_rgb, frame, aspect(track.stream), self._part)
                wanted, (at, frame) = left, following


def _plan(track: Track) -> tuple[list[float], float]:
    """Return the times of the span's pictures (sorted, from 0) and the span's length, in seconds.

    Both come from the packets, because containers state wrong values for variable rates.
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
    """Yield (seconds since `start`, frame) for each picture on screen during the span, at least one."""
    before = None
    found = False
    outlasts = False
    for at, frame in track.decode():
        if at >= track.end:
            outlasts = True
            break
        if at < track.start:
            before = frame
            continue
        if not found and before is not None and at - track.start > STILL:
            yield 0.0, before
        found = True
        yield at - track.start, frame
    if not found:
        if before is None or not (outlasts or track.start < track.furthest):
            raise track.nothing("picture")
        yield 0.0, before


def _rgb(frame: av.VideoFrame, pixel: Fraction, part: fragments.Box | None) -> np.ndarray:
    width, height = float(frame.width * pixel), frame.height
    scale = min(1.0, LONGEST / max(width, height))
    size: dict[str, Any] = {}
    if scale < 1 or pixel != 1:
        size = {
            "width": max(1, round(width * scale)),
            "height": max(1, round(height * scale)),
            "interpolation": "AREA",
        }
    picture = _upright(frame.to_ndarray(format="rgb24", **size), frame)
    if part is not None:
        picture = picture[part.pixels(*picture.shape[:2])]
    return np.ascontiguousarray(picture)


def _upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Return a picture [H, W, 3] rotated by quarter turns and mirrored as its display matrix says.

    The matrix maps the stored pixel (x, y) to (a x + c y, b x + d y), up to a translation.
    """
    try:
        # `frame.side_data` would create a reference cycle, which keeps the frame's megabytes until garbage collection.
        matrix: Any = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg]
    except ValueError:  # the frame also has side data of a type that PyAV does not know
        return np.rot90(picture, round(frame.rotation / 90))
    if matrix is not None:
        a, b, _, c, d = map(int, np.frombuffer(bytes(matrix), np.int32)[:5])
        if abs(a) + abs(d) < abs(b) + abs(c):
            picture, a, d = picture.transpose(1, 0, 2), c, b
        picture = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return picture
