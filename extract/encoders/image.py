"""Features of whole frames from any image encoder of transformers (CLIP, SigLIP, DINOv2, ViT, ConvNeXt, …).

    clip:  # the video input of Foal-Net (Li et al. 2024, doi 10.21437/Interspeech.2024-1462)
      {encoder: image, weights: openai/clip-vit-large-patch14, revision: 32bd64288804d66eefd0ccbe215aa642df71cc41,
       count: 180, frames: f2}

A frame's vector is the image embedding of CLIP and SigLIP. For other models it is the class token after the last
layer, or the mean over all positions if the model has no class token. For faces instead of whole frames, use
`encoder: face` with `network: transformers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from typing_extensions import override

from extract.contract import Failure, Features, Item
from extract.networks.encoder import PretrainedEncoder
from extract.networks.images import Preparation, image_dim, image_network
from extract.networks.pretrained import Precision
from extract.reading.encoder import MediaEncoder
from extract.reading.media import MediaParams, Span, media_item
from extract.reading.pictures import EvenFrames
from pipeline.env import device
from pipeline.params import Count, StreamParams

if TYPE_CHECKING:
    from pipeline.tables.schema import Utterance

# Not configurable: another chunk size may change the last digits of a feature.
CHUNK = 16


class ImageParams(MediaParams):
    """Params of the image stream.

    Attributes:
        weights: a local folder, or a hub id with its `revision`.
        revision: the commit of a hub id; empty for other weights.
        count: the largest number of frames, evenly spread over the clip.
        precision: of the network; `bf16` and `fp16` are faster on devices that support them.
    """

    weights: str
    revision: str = ""
    count: Count = 180
    precision: Precision = "fp32"


class ImageEncoder(MediaEncoder[ImageParams], PretrainedEncoder[ImageParams]):
    """Encoder of whole frames: `frames` [T, D] for T ≤ `count` frames, and their mean `pooled` [D]."""

    modality: ClassVar[str] = "visual"
    params_model: ClassVar[type[StreamParams]] = ImageParams

    @cached_property
    @override
    def pooled_dim(self) -> int:
        return image_dim(self.found_weights)

    @property
    @override
    def frames_dim(self) -> int:
        return self.pooled_dim

    @override
    def packages(self) -> tuple[str, ...]:
        return ("av", "numpy", "pillow", "torch", "torchvision", "transformers")

    @override
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i], pictures=True)

    @override
    def decode(self, span: Span) -> tuple[np.ndarray, np.ndarray] | Failure:
        """Return the times [T] f4 of the frames in seconds, and the fitted frames (`Preparation.fit`)."""
        return self._see(EvenFrames(*span[:3], self.params.count, self.params.max_seconds))

    def _see(self, frames: EvenFrames) -> tuple[np.ndarray, np.ndarray]:
        times: list[float] = []
        # One array for all inputs: small arrays allocated between large pictures fragment the heap.
        pixels = np.empty(0)
        for seconds, frame in islice(frames, len(frames)):
            prepared = self._prepare(frame)
            del frame  # free the picture before the next one is decoded
            if not times:
                pixels = np.empty((len(frames), *prepared.shape), prepared.dtype)
            pixels[len(times)] = prepared
            times.append(seconds)
        return np.array(times, np.float32), pixels[: len(times)]

    @override
    def encode(self, inputs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Features | Failure]:
        features: list[Features | Failure] = []
        for times, pixels in inputs:
            chunks = [self._network(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
            frames = np.concatenate(chunks)
            features.append(Features(frames.mean(0), frames, times))
        return features

    @cached_property
    def _prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        return Preparation(self.found_weights).fit

    @cached_property
    def _network(self) -> Callable[[np.ndarray], np.ndarray]:
        return image_network(self.found_weights, device(), self.params.precision)
