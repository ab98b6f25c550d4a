"""Loading a transformers model from weights on disk, whole or not at all, and the setting it runs in."""

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
# Parts that no feature comes from; checkpoints often lack them.
UNUSED = ("pooler.", "masked_spec_embed", "decoder.")
LOCAL = {"local_files_only": True, "trust_remote_code": False}


def load_config(weights: Weights) -> Any:
    """The model's transformers config.

    Raises:
        UserError: transformers cannot make sense of config.json.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(weights.path, **LOCAL)
    except Exception as error:  # a value of another type raises an error of huggingface_hub's own
        raise UserError(f"weights {weights.name}: config.json is not usable: {error}") from None


def load_model(weights: Weights, device: torch.device, precision: Precision) -> PreTrainedModel:
    """The model in float32 and eval mode on a device, frozen, for passes in `inference(device, precision)`.

    Raises:
        UserError: a tensor is missing, unknown or of another shape: transformers would fill it with noise.
    """
    from extract.networks.packed import pack

    model = _load(weights).eval().requires_grad_(False).to(device)
    if device.type == "cpu":
        pack(model, precision)
    return model


def load_trainable(weights: Weights) -> PreTrainedModel:
    """The model in float32 on the CPU, in training mode, with gradients for all that features come from.

    Raises:
        UserError: as `load_model`.
    """
    model = _load(weights).train().requires_grad_(True)
    for name, parameter in model.named_parameters():
        if name.startswith(UNUSED):
            parameter.requires_grad_(False)
    # SpecAugment fails on a sound of fewer than ten frames, and a skipped layer hangs processes that share gradients.
    for setting in ("mask_time_prob", "mask_feature_prob", "layerdrop"):
        if hasattr(model.config, setting):
            setattr(model.config, setting, 0.0)
    return model


def _load(weights: Weights) -> PreTrainedModel:
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, report = AutoModel.from_pretrained(
            weights.path, dtype=torch.float32, weights_only=True, output_loading_info=True, **LOCAL
        )
    except Exception as error:  # what a damaged file makes its reader raise is anybody's guess
        reason = str(error).strip() or type(error).__name__
        raise UserError(f"weights {weights.name}: cannot be loaded: {reason}") from error
    missing = sorted(k for k in report["missing_keys"] if not k.startswith(UNUSED))
    if missing or report["mismatched_keys"]:
        wrong = [*missing, *(str(k[0]) for k in report["mismatched_keys"])]
        raise UserError(
            f"weights {weights.name}: {len(wrong)} tensors are missing or of another shape "
            f"({', '.join(wrong[:5])}); these are not the weights of the model in config.json"
        )
    return model


def save_model(network: Any, base: Weights, folder: Path) -> None:
    """Save a fitted model with the config that it came with, where `load_trainable` has changed it."""
    network.config = load_config(base)
    network.save_pretrained(folder)


@contextmanager
def inference(device: torch.device, precision: Precision) -> Iterator[None]:
    """No gradients, the asked-for precision, and float32 that means float32 (no TF32 on a GPU)."""
    import torch

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.backends.cudnn.flags(allow_tf32=False))
        if precision != "fp32":
            dtype = torch.bfloat16 if precision == "bf16" else torch.float16
            stack.enter_context(torch.autocast(device.type, dtype))
        yield
