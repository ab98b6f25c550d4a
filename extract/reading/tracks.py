"""Follow faces through a clip: shots that end at cuts, and the track of each face in a shot.

Pictures are counted on a grid of 25 a second. Faces are looked for in every fifth picture and in each shot's first;
between two looks a track's box moves on a straight line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np

RATE = 25
LOOK = 5  # pictures from one look to the next
BRIDGED = 3 * LOOK + 1  # pictures that a track may go without being seen
LIFE = 2  # looks in which a face is seen at least, where its shot has as many
SURE = 0.9  # mean probability of a track's boxes
SHARED = 0.3  # of two boxes' union, to be one face in two looks
THUMBNAIL = (32, 18)
# A cut moves most pixels, and changes the histogram or the layout; a pan changes them slowly (32 cuts of seven films).
PIXELS, COLOURS, LAYOUT = 0.08, 0.2, 0.5


@dataclass(frozen=True, slots=True)
class Track:
    """One face in one shot: N looks.

    Attributes:
        at: [N] i8 pictures in which it was seen, ascending.
        boxes: [N, 5] f4, as the detector gives them.
    """

    at: np.ndarray
    boxes: np.ndarray

    def covers(self, picture: int) -> bool:
        """Return whether the face is there in a picture."""
        return bool(self.at[0] <= picture <= self.at[-1])

    def box(self, picture: float) -> np.ndarray:
        """Return the box [5] f4 in a picture between the first and the last look."""
        return np.array([np.interp(picture, self.at, column) for column in self.boxes.T], np.float32)


@dataclass
class Grid:
    """Pictures at 25 a second, the picture on screen at each moment, and where shots begin.

    Attributes:
        begins: pictures that begin a shot, known once `looks` has run.
        count: pictures in all, likewise.
    """

    begins: list[int] = field(default_factory=list)
    count: int = 0

    def looks(self, pictures: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        """Return (number, picture) of those in which to look for faces, and find the shots."""
        before: np.ndarray | None = None
        for number, picture in on_grid(pictures):
            small = thumbnail(picture)
            begins = before is None or is_cut(before, small)
            if begins:
                self.begins.append(number)
            before = small
            self.count = number + 1
            if begins or (number - self.begins[-1]) % LOOK == 0:
                yield number, picture

    def shots(self) -> list[tuple[int, int]]:
        """Return each shot's first picture and the one behind its last."""
        return list(pairwise([*self.begins, self.count]))


def on_grid(pictures: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Return (number, picture) of the pictures on screen at 0, 1/25, 2/25, … seconds; the last is that at the last
    picture's own time.
    """
    number = 0
    shown: np.ndarray | None = None
    for seconds, picture in pictures:
        # Half a millisecond: stamps are rounded to their container's clock.
        while shown is not None and number / RATE < seconds - 0.0005:
            yield number, shown
            number += 1
        shown = picture
    if shown is not None:
        yield number, shown


def link(looks: Iterable[tuple[int, np.ndarray]], begin: int, end: int) -> list[Track]:
    """Join one shot's boxes to tracks, longest first.

    A box continues the track whose last box shares most with it. Short or unsure tracks are false faces and left out.

    Args:
        looks: (picture, boxes [F, 5]) in order.
        begin: the shot's first picture.
        end: the picture behind its last.
    """
    inside = [(at, boxes) for at, boxes in looks if begin <= at < end]
    open_: list[list[tuple[int, np.ndarray]]] = []
    for at, boxes in inside:
        pairs = sorted(
            ((-_shared(track[-1][1], box), t, f) for t, track in enumerate(open_) if at - track[-1][0] <= BRIDGED
             for f, box in enumerate(boxes)),
        )  # fmt: skip
        taken: set[int] = set()
        continued: set[int] = set()
        for shared, t, f in pairs:
            if -shared >= SHARED and t not in continued and f not in taken:
                open_[t].append((at, boxes[f]))
                continued.add(t)
                taken.add(f)
        open_ += [[(at, boxes[f])] for f in range(len(boxes)) if f not in taken]
    least = min(LIFE, len(inside))
    good = [t for t in open_ if len(t) >= least and np.mean([box[4] for _, box in t]) >= SURE]
    for track in good:
        if track[-1][0] == inside[-1][0]:  # still there at the last look, so until the shot ends
            track.append((end - 1, track[-1][1]))
    tracks = [Track(np.array([at for at, _ in t]), np.stack([box for _, box in t])) for t in good]
    return sorted(tracks, key=lambda t: (-len(t.at), -_area(t.boxes)))


def spread(tracks: Sequence[Track], count: int) -> dict[int, int]:
    """Return {picture: number of its track} of up to `count` pictures, spread evenly over those that tracks cover."""
    there = [
        (at, t) for t, track in enumerate(tracks) for at in range(int(track.at[0]), int(track.at[-1]) + 1)
    ]
    chosen = np.unique(((np.arange(count) + 0.5) / count * len(there)).astype(int))
    return dict(there[i] for i in chosen)


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Return a picture [H, W, 3] u1 at the size at which `is_cut` compares, [18, 32, 3] u1."""
    return cv2.resize(picture, THUMBNAIL, interpolation=cv2.INTER_AREA)


def is_cut(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether a cut lies between two thumbnails [18, 32, 3] u1."""
    moved = float(np.abs(a.astype(np.int16) - b).mean()) / 255
    if moved <= PIXELS:
        return False
    return float(np.abs(_histogram(a) - _histogram(b)).sum()) / 2 > COLOURS or _correlation(a, b) < LAYOUT


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two thumbnails' values; 1 if one of them has a single colour."""
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / size if size else 1.0


def _histogram(picture: np.ndarray) -> np.ndarray:
    """[512] f4, shares: eight steps a colour."""
    places = (picture >> 5).astype(np.int64) @ np.array([64, 8, 1])
    counts: np.ndarray = np.bincount(places.ravel(), minlength=512)
    return counts.astype(np.float32) / np.float32(places.size)


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection of two boxes as a share of their union."""
    size = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
    if (size <= 0).any():
        return 0.0
    both = float(size.prod())
    return both / (_area(a[None]) + _area(b[None]) - both)


def _area(boxes: np.ndarray) -> float:
    return float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).mean())
