"""Registry of encoders: the name in `extract.STREAM.encoder` of params.yaml, and the class.

To add an encoder, write a class that follows extract/contract.py and add one line to `REGISTRY`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pydantic import create_model

from extract.contract import Encoder, Trainable
from pipeline.errors import UserError
from pipeline.messages import nearest
from pipeline.params import FinetuneParams, StreamParams
from pipeline.strict import validate

REGISTRY: dict[str, str] = {
    "text": "extract.encoders.text:TextEncoder",
    "opensmile": "extract.encoders.opensmile:OpensmileEncoder",
    "speech": "extract.encoders.speech:SpeechEncoder",
    "face": "extract.encoders.face:FaceEncoder",
    "image": "extract.encoders.image:ImageEncoder",
}


def encoder_class(name: str) -> type[Encoder[Any]]:
    """Return the class registered under `name`. Only its module is imported.

    Raises:
        UserError: no encoder has this name; the message suggests the nearest one.
    """
    if name not in REGISTRY:
        hint = nearest(name, REGISTRY)
        raise UserError(f"unknown encoder {name!r}{hint}; choose one of: {', '.join(sorted(REGISTRY))}")
    module, _, attribute = REGISTRY[name].partition(":")
    kind: type[Encoder[Any]] = getattr(importlib.import_module(module), attribute)
    return kind


def stream_params(
    stream: str, raw: dict[str, Any], params_file: Path
) -> tuple[type[Encoder[Any]], StreamParams]:
    """Return a stream's encoder class, and `raw` validated by the class's `params_model`.

    Raises:
        UserError: the encoder or a key is unknown, or a value is out of bounds.
    """
    kind = _class(f"extract.{stream}", raw, params_file)
    return kind, validate(kind.params_model, raw, params_file, f"extract.{stream}")


def finetune_params(
    stream: str, raw: dict[str, Any], params_file: Path
) -> tuple[type[Encoder[Any]], StreamParams, FinetuneParams]:
    """Return the encoder class, stream params and `training` params of an entry `finetune.STREAM`.

    Raises:
        UserError: as `stream_params`; or the encoder has no weights to fine-tune.
    """
    prefix = f"finetune.{stream}"
    kind = _class(prefix, raw, params_file)
    if not issubclass(kind, Trainable):
        raise UserError(
            f"{params_file}: {prefix}.encoder={raw['encoder']!r}: cannot be fine-tuned; use encoder: text or "
            "encoder: speech"
        )
    # Validate both together, so all errors are reported at once, including a misspelt `training` key.
    both = create_model("Both", __base__=kind.params_model, training=(FinetuneParams, FinetuneParams()))
    training: FinetuneParams = dict(validate(both, raw, params_file, prefix))["training"]
    own = {key: value for key, value in raw.items() if key != "training"}
    return kind, validate(kind.params_model, own, params_file, prefix), training


def build(stream: str, raw: dict[str, Any], params_file: Path, media: Path) -> Encoder[Any]:
    """Return the encoder of a stream, without loading its weights.

    Args:
        stream: the stream's name.
        raw: the mapping under `extract.STREAM`.
        params_file: the file that `raw` comes from, for messages.
        media: the folder that media paths are relative to.

    Raises:
        UserError: as `stream_params`, or the encoder's constructor rejects its params.
    """
    kind, params = stream_params(stream, raw, params_file)
    return kind(params, media)


def _class(prefix: str, raw: dict[str, Any], params_file: Path) -> type[Encoder[Any]]:
    name = raw.get("encoder")
    if not isinstance(name, str):
        raise UserError(
            f"{params_file}: {prefix}.encoder: must name an encoder; choose one of: {', '.join(sorted(REGISTRY))}"
        )
    try:
        return encoder_class(name)
    except UserError as error:
        raise UserError(f"{params_file}: {prefix}.encoder: {error}") from None
