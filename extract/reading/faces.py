"""Selecting faces in the frames of a clip, and cropping them.

Boxes are [F, 5] f4. A row holds x0, y0, x1, y1 in pixels of the frame, and the detector's probability. A box may
extend slightly beyond the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import cv2
import numpy as np

Detect = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
Frame = TypeVar("Frame")


@dataclass(frozen=True, slots=True)
class Seen:
    """The selected faces of one frame.

    Attributes:
        seconds: the frame's time since the start of the span.
        boxes: [F, 5] f4.
        crops: F inputs of the face network.
        why: for `faces: speaker` why this face was selected.
    """

    seconds: float
    boxes: np.ndarray
    crops: list[np.ndarray]
    why: str = ""


def find(frames: Sequence[np.ndarray], detect: Detect, longest: int) -> list[np.ndarray]:
    """Return each frame's boxes, largest first, without boxes that lie outside the frame.

    Args:
        frames: N pictures RGB [H, W, 3] u1 of one size.
        detect: returns the boxes of N pictures.
        longest: shrink larger frames for detection until their longer side has this many pixels; 0 disables it.
    """
    height, width = frames[0].shape[:2]
    scale = min(1.0, longest / max(height, width)) if longest else 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = frames if scale == 1 else [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]
    back = np.array([width / size[0], height / size[1]] * 2 + [1], np.float32)
    found = [boxes * back for boxes in detect(small)]
    limit = np.array([width, height])
    pixels = [np.minimum(b[:, 2:4], limit).astype(int) - np.maximum(b[:, :2], 0).astype(int) for b in found]
    return [boxes[(size > 0).all(1)] for boxes, size in zip(found, pixels, strict=True)]


def groups(frames: Iterable[tuple[float, np.ndarray]], size: int) -> Iterator[list[tuple[float, np.ndarray]]]:
    """Yield groups of up to `size` consecutive frames that have the same height and width."""
    group: list[tuple[float, np.ndarray]] = []
    for frame in frames:
        if group and (len(group) == size or frame[1].shape != group[0][1].shape):
            yield group
            group = []
        group.append(frame)
    if group:
        yield group


def parts(frames: Iterable[Frame], length: int, count: int) -> Iterator[list[Frame]]:
    """Yield `length` frames in at most `count` non-empty parts, whose sizes differ by at most one, larger first."""
    left = iter(frames)
    for part in np.array_split(np.arange(length), count):
        if found := list(islice(left, len(part))):
            yield found


def nearest_first(part: Sequence[Frame]) -> list[Frame]:
    """Return a part's frames in the order of their distance from the middle one."""
    order = np.argsort(abs(np.arange(len(part)) - len(part) // 2), kind="stable")
    return [part[i] for i in order]


def pick(boxes: np.ndarray, frame: np.ndarray, faces: str) -> np.ndarray:
    """Return the boxes of a frame that `faces` selects: `largest`, `most_central`, or every box (`all`, `track`)."""
    if not len(boxes) or faces in ("all", "track"):
        return boxes
    if faces == "largest":
        return boxes[:1]
    centre = np.array(frame.shape[1::-1]) / 2
    distance = np.linalg.norm((boxes[:, :2] + boxes[:, 2:4]) / 2 - centre, axis=1)
    return boxes[[np.argmin(distance)]]


def follow(seen: Sequence[Seen]) -> list[Seen]:
    """Return the frames that show the most frequent face, with that face alone; of ties, the larger face.

    A box extends the track whose last box has the nearest corners, if no corner moved by more than a face's width.
    So a face may disappear for a while, but a cut to another framing starts a new track.
    """
    tracks: list[list[tuple[int, int]]] = []
    for i, frame in enumerate(seen):
        moved = [
            (_moved(seen[track[-1][0]].boxes[track[-1][1]], box), t, f)
            for t, track in enumerate(tracks)
            for f, box in enumerate(frame.boxes)
        ]
        taken: set[int] = set()
        continued: set[int] = set()
        for distance, t, f in sorted(moved):
            if distance <= 1 and t not in continued and f not in taken:
                tracks[t].append((i, f))
                continued.add(t)
                taken.add(f)
        tracks += [[(i, f)] for f in range(len(frame.boxes)) if f not in taken]

    def weight(track: list[tuple[int, int]]) -> tuple[int, float]:
        return len(track), sum(_area(seen[i].boxes[f]) for i, f in track)

    longest = max(tracks, key=weight, default=[])
    return [replace(seen[i], boxes=seen[i].boxes[[f]], crops=[seen[i].crops[f]]) for i, f in longest]


def thin(seen: Sequence[Seen], count: int) -> list[Seen]:
    """Return at most `count` frames, every int(n / count)-th of n, as published for VisExtNet."""
    return list(seen[:: max(1, len(seen) // count)][:count])


def cut_square(frame: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """Return a square [S, S, 3] u1 centred on a box, with S = (1 + margin) times the box's longer side.

    Outside the frame the border's pixels are repeated.
    """
    side = max(1, round(float((box[2:4] - box[:2]).max()) * (1 + margin)))
    x, y = np.rint((box[:2] + box[2:4] - side) / 2).astype(int)
    rows = np.arange(y, y + side).clip(0, frame.shape[0] - 1)
    columns = np.arange(x, x + side).clip(0, frame.shape[1] - 1)
    square: np.ndarray = frame[rows[:, None], columns]
    return square


def cut_box(frame: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """Return the part of a box inside the frame [h, w, 3] u1, after enlarging the box to (1 + margin) times its size.

    Coordinates are truncated to whole pixels, as in facenet-pytorch.
    """
    grown = (box[2:4] - box[:2]) * margin / 2
    x0, y0 = np.maximum(box[:2] - grown, 0).astype(int)
    x1, y1 = np.minimum(box[2:4] + grown, frame.shape[1::-1]).astype(int)
    return frame[y0:y1, x0:x1]


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Return a square image at `size` pixels: averaged over areas if it shrinks, interpolated if it grows."""
    way = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=way)


def stretch(image: np.ndarray, size: int) -> np.ndarray:
    """Return an image [h, w, 3] u1 resized to [size, size, 3] u1 by area and rounded down, as in facenet-pytorch."""
    import torch
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    square = interpolate(pixels, size=(size, size), mode="area")[0].byte()
    return np.asarray(square.permute(1, 2, 0))


def _moved(a: np.ndarray, b: np.ndarray) -> float:
    width = (a[2] - a[0] + b[2] - b[0]) / 2
    return float(np.abs(a[:4] - b[:4]).max() / width)


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
