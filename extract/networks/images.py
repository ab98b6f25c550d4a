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


def preparation(weights: Weights) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model's preprocessing as a function from RGB [H, W, 3] u1 to [3, S, S] f4.

    Raises:
        UserError: preprocessor_config.json is missing or not usable.
    """
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(weights.path, **LOCAL)
    except (OSError, ValueError) as error:
        raise UserError(
            f"weights {weights.name}: preprocessor_config.json is missing or not usable; copy it from the model's "
            f"page: {error}"
        ) from None

    def prepare(image: np.ndarray) -> np.ndarray:
        # Without `input_data_format`, a picture three pixels high would be read as [3, W, C].
        out = processor(images=image, input_data_format="channels_last", return_tensors="pt")
        return np.asarray(out["pixel_values"][0].float())

    return prepare


def image_network(
    weights: Weights, device: torch.device, precision: Precision
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model as a function from preprocessed images [N, 3, S, S] f4 to vectors [N, D] f4.

    Raises:
        UserError: as `load_model`.
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
                if places.ndim == 4:  # [N, D, H, W] of a convolutional network
                    places = places.flatten(2).mT
                out = places[:, 0] if has_class_token else places.mean(1)
            return np.asarray(out.float().cpu())

    return vectors
