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
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from extract.contract import Encoder, Failure, Features, Item
from extract.device import device
from extract.media import MediaError, MediaParams, even_frames, media_item, source
from extract.pretrained import LOCAL, Precision, inference, load_config, load_model
from extract.weights import Weights, resolve
from pipeline.errors import UserError
from pipeline.params import Count, StreamParams
from pipeline.tables import Utterance

if TYPE_CHECKING:
    import torch

# A constant: another grouping of the same frames may change a sum's last bit.
CHUNK = 16
CLASS_TOKENS = ("cls_token", "class_embedding")


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

    def sources(self) -> tuple[str, ...]:
        return (
            "extract.encoders.image",
            "extract.media",
            "extract.packed",
            "extract.pretrained",
            "pipeline.fragments",
        )

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i], pictures=True)

    def read(self, item: Item) -> tuple[np.ndarray, np.ndarray] | Failure:
        """The frames' times [T] and what the model sees of them [T, 3, S, S]."""
        try:
            span = (source(self.media, item), item.content["start"], item.content["end"])
            frames = even_frames(*span, self.params.count, self.params.max_seconds)
        except MediaError as error:
            return error.failure
        pixels = [self._prepare(frame) for _, frame in frames]
        return np.array([seconds for seconds, _ in frames], np.float32), np.stack(pixels)

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


def image_dim(weights: Weights) -> int:
    """Length of the vector that `image_network` gives.

    Raises:
        UserError: config.json is unusable, or not that of an image encoder.
    """
    config = load_config(weights)
    vision = getattr(config, "vision_config", None)
    if vision is not None:
        return int(getattr(config, "projection_dim", 0) or vision.hidden_size)
    if not hasattr(config, "num_channels"):
        raise UserError(f"weights {weights.name}: {config.model_type} is no image encoder")
    return int(getattr(config, "hidden_size", 0) or config.hidden_sizes[-1])


def preparation(weights: Weights) -> Callable[[np.ndarray], np.ndarray]:
    """The model's own preprocessing: RGB [H, W, 3] u1 -> [3, S, S] f4.

    Raises:
        UserError: preprocessor_config.json is missing or unusable.
    """
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(weights.path, **LOCAL)
    except (OSError, ValueError) as error:
        raise UserError(f"weights {weights.name}: no usable preprocessor_config.json: {error}") from None

    def prepare(image: np.ndarray) -> np.ndarray:
        # Without `input_data_format` a picture three pixels high would be taken for one with its colours first.
        out = processor(images=image, input_data_format="channels_last", return_tensors="pt")
        return out["pixel_values"][0].float().numpy()

    return prepare


def image_network(
    weights: Weights, device: torch.device, precision: Precision
) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function from prepared images [N, 3, S, S] f4 to vectors [N, D] f4.

    Raises:
        UserError: the weights are not the model's.
    """
    import torch

    model: Any = load_model(weights, device, precision)
    has_class_token = any(token in name for name, _ in model.named_parameters() for token in CLASS_TOKENS)

    def vectors(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(images).to(device)
        with inference(device, precision):
            if hasattr(model, "get_image_features"):
                out = model.get_image_features(pixel_values=pixels).pooler_output
            else:
                places = model(pixel_values=pixels).last_hidden_state
                if places.ndim == 4:  # a convolutional network's [N, D, H, W]
                    places = places.flatten(2).mT
                out = places[:, 0] if has_class_token else places.mean(1)
            return out.float().cpu().numpy()

    return vectors
