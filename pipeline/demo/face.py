"""Draw the talking faces of the demo corpus: an expression on a portrait, frame by frame.

Mouth and brows are drawn, because expression networks rely on them most. A light warp moves the portrait's own brows,
lids and jaw with them. All lengths are in units of the distance between the eyes; y points down.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np

from pipeline.demo.portrait import SIZE, D, Portrait, pixels, portrait
from pipeline.demo.voice import FPS

FEATURES = ("corner", "wide", "open", "teeth", "inner", "outer", "pinch", "upper_lid", "lower_lid", "furrow")
_TARGETS = {
    "neutral": (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "happiness": (-0.20, 0.10, 0.05, 0.6, 0, -0.03, 0, 0, -0.05, 0),
    "excitement": (-0.16, 0.06, 0.20, 0.35, -0.14, -0.12, 0, -0.06, 0, 0),
    "anger": (0.06, 0.02, 0.10, 0.75, 0.16, -0.05, 0.06, 0.03, 0, 0.8),
    "frustration": (0.12, -0.06, -0.02, 0, 0.10, 0.03, 0.06, 0.06, 0, 0.45),
    "sadness": (0.18, -0.06, 0, 0, -0.14, 0.08, 0, 0.07, 0, 0),
}
_JITTER = (0.07, 0.05, 0.04, 0.15, 0.06, 0.05, 0.03, 0.03, 0.02, 0.2)
STRENGTH_MEAN, STRENGTH_SD, JITTER = 1.25, 0.45, 1.3
_TALK = 0.09  # how far the loudest sound opens the mouth
_ALONG = np.linspace(-1, 1, 25)
_JAW = np.s_[175:295, 65:255]  # rows and columns that the jaw can move


def expression(emotion: str, draw: np.random.Generator) -> dict[str, float]:
    """Return an utterance's offsets from the neutral face: the emotion at a random strength, plus jitter."""
    strength = max(0.0, draw.normal(STRENGTH_MEAN, STRENGTH_SD))
    moved = strength * np.array(_TARGETS[emotion]) + JITTER * draw.normal(0, _JITTER)
    return dict(zip(FEATURES, moved.tolist(), strict=True))


def talking(name: str, emotion: str, loud: np.ndarray, draw: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield frames [320, 320, 3] u1 RGB of portrait `name` speaking; `loud` [frames] in 0..1 opens the mouth."""
    moved = expression(emotion, draw)
    posed = _posed(name, moved)
    yield from _filmed((_speaking(name, posed, moved, _TALK * float(level)) for level in loud), draw)


def empty_room(frames: int, draw: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield frames [320, 320, 3] u1 RGB of a room without a speaker: a wall, a window and a table."""
    scene = np.empty((SIZE, SIZE, 3), np.uint8)
    scene[:] = draw.integers(120, 200, 3)
    scene[235:] = (112, 84, 60)
    cv2.rectangle(scene, (40, 40), (150, 170), (214, 226, 236), -1)
    cv2.rectangle(scene, (40, 40), (150, 170), (92, 72, 58), 5)
    cv2.line(scene, (95, 40), (95, 170), (92, 72, 58), 4)
    yield from _filmed((cv2.GaussianBlur(scene, (0, 0), 2) for _ in range(frames)), draw)


def _filmed(frames: Iterator[np.ndarray], draw: np.random.Generator) -> Iterator[np.ndarray]:
    """Add slow movement of the head, light from one side, and sensor noise."""
    turn, zoom = draw.normal(0, 2), 1 + draw.uniform(-0.05, 0.05)
    shift = D * draw.uniform((-0.18, -0.10), (0.18, 0.10))
    swing, pace, phase = (
        draw.uniform((0.5, 1, 1), (2, 3, 2)),
        draw.uniform(0.2, 0.7, 3),
        draw.uniform(0, 6.28, 3),
    )
    gain, slope, side = draw.uniform(0.75, 1.2), draw.uniform(0, 0.2), draw.uniform(0, 6.28)
    across = np.linspace(-1, 1, SIZE)
    light = gain * (1 + slope * (np.cos(side) * across[None, :] + np.sin(side) * across[:, None]))
    light = np.repeat(light[:, :, None], 3, axis=2).astype(np.float32)
    # One noise image per clip, shifted in each frame: new noise would take longer to compute than the face.
    grain = draw.normal(0, draw.uniform(2, 5), (SIZE + 64, SIZE + 64, 1)).astype(np.float32).repeat(3, axis=2)
    for index, frame in enumerate(frames):
        angle, x, y = swing * np.sin(2 * np.pi * pace * index / FPS + phase) + (turn, *shift)
        move = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), float(angle), float(zoom))
        move[:, 2] += x, y
        # OpenCV warps four channels more than twice as fast as three.
        held = cv2.warpAffine(
            cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA), move, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE
        )
        lit = cv2.multiply(cv2.cvtColor(held, cv2.COLOR_RGBA2RGB), light, dtype=cv2.CV_32F)
        top, left = draw.integers(0, 64, 2)
        yield cv2.add(lit, grain[top : top + SIZE, left : left + SIZE], dtype=cv2.CV_8U)


@cache
def _bumps(name: str) -> dict[str, np.ndarray]:
    """Return masks [320, 320] float32 of the skin that moves with brows, lids and jaw: Gaussians of height 1."""
    face = portrait(name)
    outer_left, inner_left, inner_right, outer_right = face.brows
    y, x = np.mgrid[:SIZE, :SIZE]

    def hill(at: tuple[float, float], width: float, height: float) -> np.ndarray:
        cx, cy = pixels(np.array(at))
        bump: np.ndarray = np.exp(-(((x - cx) / (width * D)) ** 2 + ((y - cy) / (height * D)) ** 2) / 2)
        return bump.astype(np.float32)

    return {
        "inner_left": hill(inner_left, 0.17, 0.13),
        "inner_right": hill(inner_right, 0.17, 0.13),
        "outer": hill(outer_left, 0.17, 0.13) + hill(outer_right, 0.17, 0.13),
        "upper_lid": hill((-0.5, -0.09), 0.20, 0.06) + hill((0.5, -0.09), 0.20, 0.06),
        "lower_lid": hill((-0.5, 0.09), 0.20, 0.06) + hill((0.5, 0.09), 0.20, 0.06),
        "jaw": hill((face.mouth[0], face.chin - 0.15), 0.5, 0.28),
    }


def _posed(name: str, moved: dict[str, float]) -> np.ndarray:
    """Return the portrait with the utterance's brows, lids and furrows, which are the same in all frames; no mouth."""
    bumps = _bumps(name)
    down = moved["inner"] * (bumps["inner_left"] + bumps["inner_right"]) + moved["outer"] * bumps["outer"]
    down += moved["upper_lid"] * bumps["upper_lid"] + moved["lower_lid"] * bumps["lower_lid"]
    right = moved["pinch"] * (bumps["inner_left"] - bumps["inner_right"])
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    image = cv2.remap(
        portrait(name).image, x - np.float32(D) * right, y - np.float32(D) * down, cv2.INTER_LINEAR
    )
    _brows(image, portrait(name), moved)
    return image


def _speaking(name: str, posed: np.ndarray, moved: dict[str, float], talk: float) -> np.ndarray:
    """Return one frame: lower the jaw by half of the mouth's opening and draw the mouth."""
    image, opening = posed.copy(), max(0.0, moved["open"] + talk)
    y, x = np.mgrid[_JAW].astype(np.float32)
    image[_JAW] = cv2.remap(
        posed, x, y - np.float32(0.5 * D * opening) * _bumps(name)["jaw"][_JAW], cv2.INTER_LINEAR
    )
    _mouth(image, portrait(name), moved, opening)
    return image


def _brows(image: np.ndarray, face: Portrait, moved: dict[str, float]) -> None:
    """Draw arched brows, thinner outwards, and the two furrows between them."""
    for side in (-1, 1):
        across = np.array([0.23 - moved["pinch"], 0.52, 0.80])
        middle = (moved["inner"] + moved["outer"]) / 2
        heights = np.array([-0.26 + moved["inner"], -0.36 + middle, -0.24 + moved["outer"]])
        arch = np.polynomial.Polynomial.fit(across, heights, deg=2)
        x = np.linspace(across[0], across[-1], 15)
        half = 0.04 * np.linspace(1, 0.45, 15)
        upper, lower = np.stack([side * x, arch(x) - half], 1), np.stack([side * x, arch(x) + half], 1)
        _paint(image, np.concatenate([upper, lower[::-1]]), face.hair, 0.9)
        furrow = np.array([(-0.015, -0.34), (0.015, -0.34), (0.02, -0.1), (-0.02, -0.1)])
        furrow[:, 0] += 0.07 * side
        _paint(image, furrow, (92, 56, 44), 0.7 * float(np.clip(moved["furrow"], 0, 1)))


def _mouth(image: np.ndarray, face: Portrait, moved: dict[str, float], opening: float) -> None:
    """Draw the lips, the dark between them, the upper teeth, and the line where closed lips meet."""
    half_width = 0.42 * max(0.5, 1 + 2.5 * moved["wide"])
    x = face.mouth[0] + half_width * _ALONG
    round_ = 1 - _ALONG**2
    line = face.mouth[1] + moved["corner"] * (0.6 - round_)
    upper, lower = line - 0.35 * opening * round_, line + 0.65 * opening * round_
    bow = 0.08 * np.sqrt(round_) * (1 - 0.25 * np.exp(-((_ALONG / 0.15) ** 2)))

    def between(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        return np.concatenate([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])

    dark = tuple(int(0.5 * channel) for channel in face.lips)
    _paint(image, between(upper - bow, lower + 0.10 * np.sqrt(round_)), face.lips, 0.85)
    _paint(image, between(upper, lower), (48, 20, 22), 1.0)
    teeth = np.minimum(lower, upper + 0.11 * np.sqrt(round_))
    _paint(image, between(upper, teeth), (236, 230, 220), float(np.clip(moved["teeth"], 0, 1)))
    _paint(image, between(upper - 0.012, upper + 0.012), dark, 0.9)


def _paint(image: np.ndarray, outline: np.ndarray, colour: tuple[int, ...], opacity: float) -> None:
    """Fill `outline` [n, 2] (in D) into `image` with soft edges."""
    if opacity <= 0:
        return
    points = pixels(outline)
    low = np.floor(points.min(0)).astype(int) - 4
    high = np.ceil(points.max(0)).astype(int) + 5
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillPoly(mask, [((points - low) * 16).round().astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    alpha = cv2.GaussianBlur(mask, (0, 0), 0.8)[:, :, None].astype(np.float32) * (opacity / 255)
    patch = image[low[1] : high[1], low[0] : high[0]]
    patch[:] = (patch * (1 - alpha) + np.array(colour, np.float32) * alpha).astype(np.uint8)
