"""Frames with known faces, and clips of them: the two portraits that scikit-image and matplotlib ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import matplotlib.cbook
import matplotlib.image
import numpy as np
import skimage.data

from pipeline.tables.schema import Utterance
from tests.extract.make_clips import sha256

WIDTH, HEIGHT = 480, 270


def astronaut(size: int) -> np.ndarray:
    """A smiling face in a square RGB picture of `size` pixels, the face about 0.35 of it."""
    return _scaled(skimage.data.astronaut()[0:260, 95:355], size)


def hopper(size: int) -> np.ndarray:
    """A serious face in a square RGB picture of `size` pixels, the face about 0.45 of it."""
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return _scaled(matplotlib.image.imread(path)[0:512], size)


def scene(*portraits: tuple[np.ndarray, int, int], width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A grey frame [height, width, 3] u1 with portraits pasted at their (x, y)."""
    frame = np.full((height, width, 3), 96, np.uint8)
    for picture, x, y in portraits:
        frame[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return frame


def write_clip(path: Path, frames: Sequence[np.ndarray], rate: int = 10) -> Path:
    """The frames as an H.264 `.mp4` at `rate` frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "veryfast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def utterance(path: Path, start: float | None = None, end: float | None = None) -> Utterance:
    """A turn whose clip is that file, named by its file's name."""
    return Utterance("u1", "d1", 0, "A", "", "hello", path.name, start, end, sha256(path))


def _scaled(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
