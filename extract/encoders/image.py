"""Whole frames: a vector of each from any image encoder of transformers (CLIP, SigLIP, DINOv2, ViT, ConvNeXt, …).

    clip:  # the video stream of Foal-Net (Li et al. 2024, doi 10.21437/Interspeech.2024-1462)
      {encoder: image, weights: openai/clip-vit-large-patch14, revision: 32bd64288804d66eefd0ccbe215aa642df71cc41,
       count: 180, frames: f2}

The vector is what the model was trained to compare: CLIP's and SigLIP's image embedding, else the class token
after the last layer, else the mean over the picture. Faces alone: `encoder: face` with `network: transformers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice
from typing import ClassVar

import numpy as np

from extract.contract import Encoder, Failure, Features, Item
from extract.networks.images import image_dim, image_network, preparation
from extract.networks.pretrained import Precision
from extract.networks.weights import Weights, resolve
from extract.reading.media import MediaError, MediaParams, media_item, source
from extract.reading.pictures import EvenFrames
from pipeline.env import device
from pipeline.params import Count, StreamParams
from pipeline.tables.schema import Utterance

# A constant: another grouping of the same frames may change a sum's last bit.
CHUNK = 16


class ImageParams(MediaParams):
    """`count`: how many frames at most, evenly spread over the clip; `weights`: a local folder or a hub id."""

    weights: str
    revision: str = ""
    count: Count = 180
    precision: Precision = "fp32"


class ImageEncoder(Encoder[ImageParams]):
    """`frames` [T, D] of up to `count` whole frames, `pooled` [D] their mean."""

    modality: ClassVar[str] = "visual"
    params_model: ClassVar[type[StreamParams]] = ImageParams

    @cached_property
    def pooled_dim(self) -> int:  # type: ignore[override]
        return image_dim(self._weights)

    @property
    def frames_dim(self) -> int:  # type: ignore[override]
        return self.pooled_dim

    def weights(self) -> dict[str, str]:
        found = self._weights
        return {"name": found.name, "revision": found.revision, "sha256": found.sha256}

    def packages(self) -> tuple[str, ...]:
        return ("av", "numpy", "pillow", "torch", "torchvision", "transformers")

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i], pictures=True)

    def read(self, item: Item) -> tuple[np.ndarray, np.ndarray] | Failure:
        """The frames' times [T] and what the model sees of them [T, 3, S, S]."""
        try:
            span = (source(self.media, item), item.content["start"], item.content["end"])
            frames = EvenFrames(*span, self.params.count, self.params.max_seconds)
            return self._see(frames)
        except MediaError as error:
            return error.failure

    def _see(self, frames: EvenFrames) -> tuple[np.ndarray, np.ndarray]:
        times: list[float] = []
        # One block: many small ones between large pictures would keep the memory of these from being given back.
        pixels = np.empty((0,), np.float32)
        for seconds, frame in islice(frames, len(frames)):
            prepared = self._prepare(frame)
            if not times:
                pixels = np.empty((len(frames), *prepared.shape), np.float32)
            pixels[len(times)] = prepared
            times.append(seconds)
        return np.array(times, np.float32), pixels[: len(times)]

    def encode(self, inputs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Features | Failure]:
        features: list[Features | Failure] = []
        for times, pixels in inputs:
            chunks = [self._network(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
            frames = np.concatenate(chunks)
            features.append(Features(frames.mean(0), frames, times))
        return features

    @cached_property
    def _weights(self) -> Weights:
        return resolve(self.params.weights, self.params.revision, "weights")

    @cached_property
    def _prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        return preparation(self._weights)

    @cached_property
    def _network(self) -> Callable[[np.ndarray], np.ndarray]:
        return image_network(self._weights, device(), self.params.precision)
