"""Image encoders of transformers (CLIP, SigLIP, DINOv2, ViT, ConvNeXt, …) as functions from pictures to vectors."""

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
