"""Functions from pictures to vectors by image encoders of transformers (CLIP, SigLIP, DINOv2, ViT, ConvNeXt, …)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from extract.networks.pretrained import LOCAL, Precision, inference, load_config, load_model
from extract.networks.weights import Weights
from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch

FIT = {"do_rescale": False, "do_normalize": False, "do_pad": False}
SCALE = {"do_resize": False, "do_center_crop": False}
CLASS_TOKENS = ("cls_token", "class_embedding")


def image_dim(weights: Weights) -> int:
    """Return D, the length of the vectors that `image_network` computes.

    Raises:
        UserError: config.json is not usable, or describes another kind of model.
    """
    config = load_config(weights)
    vision = getattr(config, "vision_config", None)
    if vision is not None:
        return int(getattr(config, "projection_dim", 0) or vision.hidden_size)
    if not hasattr(config, "num_channels"):
        raise UserError(
            f"weights {weights.name}: its config.json names the model type {config.model_type}, which is not an image "
            "encoder; use one such as CLIP, DINOv2 or ViT"
        )
    return int(getattr(config, "hidden_size", 0) or config.hidden_sizes[-1])


class Preparation:
    """A model's preprocessing in two steps, so that pictures wait for the network as bytes instead of floats.

    A few models have preprocessing that cannot be divided. Then `fit` does everything, and `scale` nothing.

    Raises:
        UserError: preprocessor_config.json is missing or not usable.
    """

    def __init__(self, weights: Weights) -> None:
        from transformers import AutoImageProcessor

        try:
            self._processor = AutoImageProcessor.from_pretrained(weights.path, **LOCAL)
        except (OSError, ValueError) as error:
            raise UserError(
                f"weights {weights.name}: preprocessor_config.json is missing or not usable; copy it from the model's "
                f"page: {error}"
            ) from None
        self._divided = self._is_divisible()

    def fit(self, picture: np.ndarray) -> np.ndarray:
        """Resize and crop a picture, RGB [H, W, 3] u1, to [3, S, S] u1, or f4 if the steps cannot be divided."""
        fitted: np.ndarray = self._run(picture, "channels_last", **(FIT if self._divided else {}))[0]
        return fitted

    def scale(self, pictures: np.ndarray) -> np.ndarray:
        """Return the network's inputs [N, 3, S, S] f4 from N results of `fit`."""
        return self._run(pictures, "channels_first", **SCALE) if self._divided else pictures

    def _is_divisible(self) -> bool:
        picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
        whole = self._run(picture, "channels_last")
        try:
            part = self._run(picture, "channels_last", **FIT)
        except TypeError:  # some models always normalise, which fails for bytes
            return False
        return part.dtype == np.uint8 and np.array_equal(self._run(part[0], "channels_first", **SCALE), whole)

    def _run(self, pictures: np.ndarray, layout: str, **steps: bool) -> np.ndarray:
        # Without `input_data_format`, a picture three pixels high would be read as [3, W, C].
        several = list(pictures) if pictures.ndim == 4 else pictures
        out = self._processor(images=several, input_data_format=layout, return_tensors="pt", **steps)
        return np.asarray(out["pixel_values"])


def image_network(
    weights: Weights, device: torch.device, precision: Precision
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model as a function from N results of `Preparation.fit` to vectors [N, D] f4.

    Raises:
        UserError: as `load_model` and `Preparation`.
    """
    import torch

    scale = Preparation(weights).scale

    model: Any = load_model(weights, device, precision)
    has_class_token = any(token in name for name, _ in model.named_parameters() for token in CLASS_TOKENS)

    def vectors(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(scale(images)).to(device).float()
        with inference(device, precision):
            if hasattr(model, "get_image_features"):
                out = model.get_image_features(pixel_values=pixels).pooler_output
            else:
                places = model(pixel_values=pixels).last_hidden_state
                if places.ndim == 4:  # [N, D, H, W] of a convolutional network
                    places = places.flatten(2).mT
                out = places[:, 0] if has_class_token else places.mean(1)
            return np.asarray(out.float().cpu())

    return vectors
