"""Keep the boxes of a clip's pictures on disk, for every stream that looks at the same pictures.

Detection takes most of a face stream's time. It does not depend on the network, on the faces that are taken, or on how
they are cropped. Each clip has one file: `{"boxes": {"SECONDS": [[x0, y0, x1, y1, probability], …]}}`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract.reading import faces
from extract.reading.following import Follower
from pipeline.disk import write_text

if TYPE_CHECKING:
    import torch

    from extract.reading.mtcnn import Detector

PACKAGES = ("av", "facenet-pytorch", "numpy", "opencv-python-headless", "torch", "torchvision")
GPU_PICTURES = 8


class Detections:
    """The known boxes of one clip: `boxes` has [F, 5] f4 per picture, by the seconds at which it is shown.

    `follower` finds the next picture's, where faces are followed.

    Args:
        folder: the folder of the files; None reads and writes nothing.
        way: all that decides the boxes: the clip's content and span, the detector's params and code.
    """

    def __init__(self, folder: Path | None, way: dict[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(way, sort_keys=True).encode()).hexdigest()
        self._path = folder / key[:2] / f"{key}.json" if folder else None
        self.boxes = _read(self._path) if self._path else {}
        self._known = len(self.boxes)
        self.follower: Follower | None = None

    def keep(self) -> None:
        """Write the file, if any boxes are new.

        Raises:
            UserError: if the disk is full, read-only or broken.
        """
        if self._path is None or len(self.boxes) == self._known:
            return
        boxes = {repr(at): self.boxes[at].astype(float).tolist() for at in sorted(self.boxes)}
        write_text(self._path, json.dumps({"boxes": boxes}))


def way(min_face: int, threshold: float, longest: int) -> dict[str, Any]:
    """Return all that determines the boxes of a picture except the project's code; arguments as for `Finder`."""
    return {
        "min_face": min_face,
        "threshold": threshold,
        "detect_size": longest,
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


class Finder:
    """A way to find faces, in each picture once.

    Args:
        min_face: the smallest side of a face in pixels.
        threshold: the lowest probability of a face.
        longest: the longer side in pixels to which larger pictures are shrunk; 0 disables shrinking.
        every: detect in every N-th picture, and follow the known faces in the others; 1 detects in each.
        device: where the networks compute.

    Attributes:
        at_once: the number of pictures in which faces are detected together.
    """

    def __init__(
        self, min_face: int, threshold: float, longest: int, every: int, device: torch.device
    ) -> None:
        self._settings = (min_face, threshold, device)
        self._longest, self._every = longest, every
        self.at_once = GPU_PICTURES if device.type == "cuda" and every == 1 else 1

    def find(
        self, pictures: Iterable[tuple[float, np.ndarray]], known: Detections
    ) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        """Return each picture with its boxes [F, 5] f4, and add them to `known`."""
        for group in faces.groups(pictures, self.at_once):
            new = [(at, picture) for at, picture in group if at not in known.boxes]
            if new:
                found = faces.find([picture for _, picture in new], self._way(known), self._longest)
                known.boxes.update(zip((at for at, _ in new), found, strict=True))
            for at, picture in group:
                yield at, picture, known.boxes[at]

    def _way(self, known: Detections) -> faces.Detect:
        """Return the detector, or what follows the faces of this clip."""
        if self._every == 1:
            return self._detect
        follower = known.follower = known.follower or Follower(self._detect, self._every)
        return lambda pictures: [follower(picture) for picture in pictures]

    @cached_property
    def _detect(self) -> Detector:
        from extract.reading.mtcnn import Detector

        return Detector(*self._settings)


def several(clips: Iterable[dict[float, np.ndarray]]) -> str:
    """Return how many of the kept frames of some clips show several faces, in words."""
    found = [[len(boxes) > 1 for boxes in frames.values()] for frames in clips if frames]
    return (
        f"several faces: {sum(map(sum, found)):,} of {sum(map(len, found)):,} examined frames, in "
        f"{sum(map(any, found)):,} of {len(found):,} utterances whose boxes are kept"
    )


def _read(path: Path) -> dict[float, np.ndarray]:
    """Return a file's boxes by seconds; none if the file is damaged, since they can be detected again."""
    try:
        boxes = json.loads(path.read_text(encoding="utf-8"))["boxes"]
        return {float(at): np.array(rows, np.float32).reshape(-1, 5) for at, rows in boxes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
