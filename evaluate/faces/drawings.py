"""Small JPEG pictures of a frame with its boxes, and of the selected faces, as data addresses."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from extract.reading.faces import cut_square, shrink
from pipeline.errors import UserError

WIDTH, FACE = 240, 72  # pixels of a frame's width and of a face's side
MARGIN = 0.2  # around a face, as a fraction of its box
QUALITY = 60  # of JPEG
TAKEN, LEFT = (80, 220, 90), (230, 120, 60)


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame of an utterance.

    Attributes:
        frame: the JPEG data address of the frame with its boxes.
        faces: those of the selected faces.
        caption: the second, the lowest probability of a selected face, and why it was selected.
    """

    frame: str
    faces: list[str]
    caption: str


def drawn(frame: np.ndarray, seconds: float, boxes: np.ndarray, taken: np.ndarray, why: str) -> Picture:
    """Return a frame's picture.

    Args:
        frame: RGB [H, W, 3] u1.
        seconds: its time since the start of the span.
        boxes: [F, 5] f4, all faces.
        taken: [F, 5] f4, the selected faces.
        why: why they were selected; empty for none.

    Raises:
        UserError: OpenCV cannot write JPEG.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    for rows, colour, thick in ((boxes, LEFT, 1), (taken, TAKEN, 2)):
        for box in rows:
            x0, y0, x1, y1 = (round(float(edge) * scale) for edge in box[:4])
            cv2.rectangle(small, (x0, y0), (x1, y1), colour, thick)
    sure = f", p {float(taken[:, 4].min()):.2f}" if len(taken) else ""
    faces = [_jpeg(shrink(cut_square(frame, box, MARGIN), FACE)) for box in taken]
    return Picture(_jpeg(small), faces, f"{seconds:.2f} s{sure}{', ' + why if why else ''}")


def _jpeg(picture: np.ndarray) -> str:
    done, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UserError(
            "OpenCV cannot write JPEG; install opencv-python-headless as pinned in requirements.txt"
        )
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
