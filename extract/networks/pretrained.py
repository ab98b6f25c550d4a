"""Loading a transformers model from local weights with every tensor checked, and the context for inference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from extract.networks.weights import Weights
from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Precision = Literal["fp32", "bf16", "fp16"]
# Parts that features do not depend on. Checkpoints often lack them.
UNUSED = ("pooler.", "masked_spec_embed", "decoder.")
LOCAL = {"local_files_only": True, "trust_remote_code": False}


def load_config(weights: Weights) -> Any:
    """Return the model's transformers config.

    Raises:
        UserError: transformers cannot read config.json.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(weights.path, **LOCAL)
    except Exception as error:  # a value of a wrong type raises an exception class of huggingface_hub
        raise UserError(
            f"weights {weights.name}: config.json is not usable; copy it from the model's page: {error}"
        ) from None


def load_preprocessor(weights: Weights) -> Any:
    """Return the feature extractor of a speech model.

    Raises:
        UserError: transformers cannot read preprocessor_config.json.
    """
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(weights.path, **LOCAL)
    except (OSError, ValueError) as error:
        raise UserError(
            f"weights {weights.name}: preprocessor_config.json is missing or not usable; copy it from the model's "
            f"page: {error}"
        ) from None


def load_model(weights: Weights, device: torch.device, precision: Precision) -> PreTrainedModel:
    """Return the model on a device, in float32, in eval mode and frozen; call it in `inference(device, precision)`.

    Raises:
        UserError: a tensor is missing or has another shape; transformers would initialise it at random.
    """
    return frozen(_load(weights), device, precision)


def frozen(network: PreTrainedModel, device: torch.device, precision: Precision) -> PreTrainedModel:
    """Return a float32 model on a device, in eval mode and without gradients."""
    from extract.networks.packed import pack

    model: PreTrainedModel = network.eval().requires_grad_(False).to(device)
    if device.type == "cpu":
        pack(model, precision)
    return model


def load_trainable(weights: Weights) -> PreTrainedModel:
    """Return the model on the CPU, in float32 and training mode, with gradients for all parts that features use.

    Raises:
        UserError: as `load_model`.
    """
    model: PreTrainedModel = _load(weights).train().requires_grad_(True)
    for name, parameter in model.named_parameters():
        if name.startswith(UNUSED):
            parameter.requires_grad_(False)
    # SpecAugment fails on sound of fewer than ten frames. A layer that one process skips blocks the exchange of
    # gradients between processes.
    for setting in ("mask_time_prob", "mask_feature_prob", "layerdrop"):
        if hasattr(model.config, setting):
            setattr(model.config, setting, 0.0)
    return model


def _load(weights: Weights) -> Any:
    """Return a `PreTrainedModel`, as Any because transformers annotates only some of its methods."""
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, report = AutoModel.from_pretrained(
            weights.path, dtype=torch.float32, weights_only=True, output_loading_info=True, **LOCAL
        )
    except Exception as error:  # a damaged file can make its reader raise any exception
        reason = str(error).strip() or type(error).__name__
        raise UserError(f"weights {weights.name}: cannot be loaded; download them again: {reason}") from error
    missing = sorted(k for k in report["missing_keys"] if not k.startswith(UNUSED))
    if missing or report["mismatched_keys"]:
        wrong = [*missing, *(str(k[0]) for k in report["mismatched_keys"])]
        raise UserError(
            f"weights {weights.name}: {len(wrong)} tensors of the model in config.json are missing or have another "
            f"shape ({', '.join(wrong[:5])}); use weights that match config.json"
        )
    return model


def save_model(network: Any, base: Weights, folder: Path) -> None:
    """Save a fine-tuned model with the config of its base weights, which `load_trainable` has changed in memory."""
    network.config = load_config(base)
    network.save_pretrained(folder)


@contextmanager
def inference(device: torch.device, precision: Precision) -> Iterator[None]:
    """Disable gradients, set the precision, and keep float32 exact and repeatable on a GPU (no TF32).

    `cudnn.flags` sets every flag, and by default it disables cuDNN.
    """
    import torch

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        stack.enter_context(exact)
        if precision != "fp32":
            dtype = torch.bfloat16 if precision == "bf16" else torch.float16
            stack.enter_context(torch.autocast(device.type, dtype))
        yield
