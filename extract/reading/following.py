"""Find the faces of a clip's pictures in order, from those of the picture before where that is possible.

Detection looks for faces of every size in the whole picture. A face that was in the picture before is near its last
place, so ONet alone finds it, in a tenth of the time. A new face is found at the next detection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from extract.reading.tracks import is_cut, thumbnail

if TYPE_CHECKING:
    from extract.reading.mtcnn import Detector


class Follower:
    """The faces of one clip's pictures, detected in every `every`-th picture, after a cut, and where one was lost."""

    def __init__(self, detector: Detector, every: int) -> None:
        self._detector, self._every = detector, every
        self._boxes, self._small = np.zeros((0, 5), np.float32), np.zeros(0, np.uint8)
        self._followed = 0

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return the boxes [F, 5] f4 of the next picture, RGB [H, W, 3] u1, largest first."""
        before, self._small = self._small, thumbnail(picture)
        found = None
        if len(self._boxes) and self._followed < self._every - 1 and not is_cut(before, self._small):
            found = self._detector.follow(picture, self._boxes)
        self._followed = 0 if found is None else self._followed + 1
        self._boxes = self._detector([picture])[0] if found is None else found
        return self._boxes
