"""Small JPEG pictures of a frame with its boxes, and of the selected faces."""

from __future__ import annotations

import base64
from collections.abc import Sequence
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
        crops: the selected faces, RGB [72, 72, 3] u1 each.
        caption: the second, the lowest probability of a selected face, and why it was selected.
    """

    frame: str
    crops: list[np.ndarray]
    caption: str

    @property
    def faces(self) -> list[str]:
        """The JPEG data addresses of the selected faces."""
        return [_address(crop) for crop in self.crops]


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
    crops = [shrink(cut_square(frame, box, MARGIN), FACE) for box in taken]
    return Picture(_address(small), crops, f"{seconds:.2f} s{sure}{', ' + why if why else ''}")


def strip(pictures: Sequence[Picture]) -> bytes:
    """Return the JPEG of all selected faces of some frames, side by side; empty if there are none.

    Raises:
        UserError: OpenCV cannot write JPEG.
    """
    crops = [crop for picture in pictures for crop in picture.crops]
    return _jpeg(np.concatenate(crops, axis=1)) if crops else b""


def _address(picture: np.ndarray) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(picture)).decode()}"


def _jpeg(picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UserError(
            "OpenCV cannot write JPEG; install opencv-python-headless as pinned in requirements.txt"
        )
    return bytes(data.tobytes())
