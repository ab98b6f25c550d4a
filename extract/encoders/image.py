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
from pathlib import Path
from typing import ClassVar

import numpy as np

from extract.contract import Failure, Features, Item
from extract.networks.encoder import PretrainedEncoder
from extract.networks.images import image_dim, image_network, preparation
from extract.networks.pretrained import Precision
from extract.reading.encoder import MediaEncoder
from extract.reading.media import MediaParams, media_item
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


class ImageEncoder(MediaEncoder[ImageParams], PretrainedEncoder[ImageParams]):
    """`frames` [T, D] of up to `count` whole frames, `pooled` [D] their mean."""

    modality: ClassVar[str] = "visual"
    params_model: ClassVar[type[StreamParams]] = ImageParams

    @cached_property
    def pooled_dim(self) -> int:
        return image_dim(self.found_weights)

    @property
    def frames_dim(self) -> int:
        return self.pooled_dim

    def packages(self) -> tuple[str, ...]:
        return ("av", "numpy", "pillow", "torch", "torchvision", "transformers")

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i], pictures=True)

    def decode(
        self, path: Path, start: float | None, end: float | None
    ) -> tuple[np.ndarray, np.ndarray] | Failure:
        """The frames' times [T] and what the model sees of them [T, 3, S, S]."""
        return self._see(EvenFrames(path, start, end, self.params.count, self.params.max_seconds))

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
    def _prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        return preparation(self.found_weights)

    @cached_property
    def _network(self) -> Callable[[np.ndarray], np.ndarray]:
        return image_network(self.found_weights, device(), self.params.precision)
