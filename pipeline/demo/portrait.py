"""Prepare the two portraits of the demo corpus: Eileen Collins and Grace Hopper.

Both are works of the United States government in the public domain, shipped with scikit-image and matplotlib. A
portrait is aligned so that its eyes are level, D apart and centred at (160, 140) in a 320x320 picture. Its mouth is
replaced by skin. Positions on a face are in units of D from the point between the eyes, x right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from skimage import data

from pipeline.errors import UserError

SIZE = 320
D = 58.0
CENTRE = np.array([160.0, 140.0])


@dataclass(frozen=True, slots=True)
class Portrait:
    """An aligned portrait: image [320, 320, 3] u1 RGB without a mouth, positions in D, colours in RGB."""

    image: np.ndarray
    mouth: tuple[float, float]
    chin: float
    brows: tuple[tuple[float, float], ...]  # outer left, inner left, inner right, outer right
    lips: tuple[int, int, int]
    hair: tuple[int, int, int]


def pixels(points: np.ndarray) -> np.ndarray:
    """Convert positions in D [..., 2] to pixels of the portrait."""
    return CENTRE + D * np.asarray(points, float)


@cache
def portrait(name: str) -> Portrait:
    """Return the portrait `astronaut` or `hopper`; computed once per process."""
    if name == "astronaut":
        astronaut = data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no annotations
        image = _level(astronaut, (203.3, 101.4), (246.8, 103.3))
        corners, lips = ((-0.44, 0.89), (0.49, 0.88)), (0.87, 1.17)
        brows = ((-0.82, -0.24), (-0.25, -0.21), (0.28, -0.23), (0.87, -0.21))
        chin, red, hair = 1.73, (186, 108, 104), (104, 74, 52)
    else:
        path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
        photo = cv2.imread(str(path))
        if photo is None:
            raise UserError(f"{path}: missing; reinstall matplotlib with its sample data")
        image = _level(photo[:, :, ::-1], (221.8, 189.4), (304.1, 187.2))
        corners, lips = ((-0.43, 1.07), (0.51, 1.08)), (1.05, 1.29)
        brows = ((-1.0, -0.14), (-0.20, -0.14), (0.28, -0.17), (1.08, -0.10))
        chin, red, hair = 1.77, (178, 102, 88), (96, 68, 56)
    mouth = ((corners[0][0] + corners[1][0]) / 2, sum(lips) / 2)
    return Portrait(
        _without_mouth(image, mouth, corners[1][0] - corners[0][0]), mouth, chin, brows, red, hair
    )


def _level(image: np.ndarray, left: tuple[float, float], right: tuple[float, float]) -> np.ndarray:
    """Rotate, scale and move `image` so that the eyes, given in its pixels, are level and D apart."""
    eyes = np.array([left, right])
    x, y = eyes[1] - eyes[0]
    move = np.array([[x, y], [-y, x]]) * D / (x * x + y * y)
    move = np.column_stack([move, CENTRE - move @ eyes.mean(0)])
    return cv2.warpAffine(image, move, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _without_mouth(image: np.ndarray, mouth: tuple[float, float], width: float) -> np.ndarray:
    """Fill an ellipse around the mouth from its border inwards and blur the seam."""
    hole = np.zeros((SIZE, SIZE), np.uint8)
    centre = tuple(int(v) for v in pixels(np.array(mouth)).round())
    cv2.ellipse(hole, centre, (int(0.62 * width * D), int(0.24 * D)), 0, 0, 360, 255, -1)
    filled = cv2.GaussianBlur(cv2.inpaint(np.ascontiguousarray(image), hole, 5, cv2.INPAINT_TELEA), (0, 0), 4)
    soft = cv2.GaussianBlur(hole, (0, 0), 3)[:, :, None].astype(np.float32) / 255
    return (image * (1 - soft) + filled * soft).astype(np.uint8)
