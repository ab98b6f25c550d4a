"""Find faces once: boxes of a clip's pictures, kept on disk for every stream that looks at the same pictures.

A file per clip and way of detecting, `{"boxes": {"SECONDS": [[x0, y0, x1, y1, probability], …]}}`. Detection takes most
of a face stream's time, and depends neither on the network nor on which faces are taken or how they are cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.disk import write_text

Picture = tuple[float, np.ndarray]


class Detections:
    """The boxes known of one clip.

    Args:
        folder: where they are kept; None keeps nothing.
        way: what decides the boxes: the clip's content and span, and all that the detector depends on.
    """

    def __init__(self, folder: Path | None, way: dict[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(way, sort_keys=True).encode()).hexdigest()
        self._path = folder / key[:2] / f"{key}.json" if folder else None
        self._boxes = _read(self._path) if self._path else {}
        self._known = len(self._boxes)

    def get(self, seconds: float) -> np.ndarray | None:
        """Return the boxes [F, 5] of the picture shown at `seconds`; None where nobody has looked."""
        return self._boxes.get(_name(seconds))

    def put(self, seconds: float, boxes: np.ndarray) -> None:
        """Remember the boxes [F, 5] of a picture."""
        self._boxes[_name(seconds)] = boxes

    def keep(self) -> None:
        """Write what is new.

        Raises:
            OSError: the disk does not take it.
        """
        if self._path is None or len(self._boxes) == self._known:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        boxes = {name: self._boxes[name].astype(float).tolist() for name in sorted(self._boxes, key=float)}
        write_text(self._path, json.dumps({"boxes": boxes}))


def known_first(
    pictures: Iterable[Picture], detections: Detections, group: int
) -> Iterator[tuple[list[Picture], list[Picture]]]:
    """Return pictures in order, in groups: those whose boxes are known, and up to `group` of one size to look at."""
    known: list[Picture] = []
    unknown: list[Picture] = []
    for picture in pictures:
        full = len(unknown) == group or (unknown and picture[1].shape != unknown[0][1].shape)
        if full or len(known) == group:
            yield known, unknown
            known, unknown = [], []
        (unknown if detections.get(picture[0]) is None else known).append(picture)
    if known or unknown:
        yield known, unknown


def _name(seconds: float) -> str:
    return repr(float(seconds))


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return a file's boxes by the picture's seconds; a damaged file is as good as none, since all can be found again."""
    try:
        boxes = json.loads(path.read_text(encoding="utf-8"))["boxes"]
        return {name: np.array(rows, np.float32).reshape(-1, 5) for name, rows in boxes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
