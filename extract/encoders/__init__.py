"""The encoders, by the name that `extract.STREAM.encoder` gives in params.yaml.

A new encoder is a class that follows extract/contract.py and one line here.
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


def encoder_class(name: str) -> type[Encoder]:
    """The class registered under `name`; imports its module alone.

    Raises:
        UserError: there is none; names the nearest.
    """
    if name not in REGISTRY:
        hint = nearest(name, REGISTRY)
        raise UserError(f"no encoder is called {name!r}{hint} (there are {', '.join(sorted(REGISTRY))})")
    module, _, attribute = REGISTRY[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def stream_params(stream: str, raw: dict[str, Any], params_file: Path) -> tuple[type[Encoder], StreamParams]:
    """A stream's encoder class, and `raw` validated by that class's own model.

    Raises:
        UserError: unknown encoder, unknown keys, values out of bounds.
    """
    kind = _class(f"extract.{stream}", raw, params_file)
    return kind, validate(kind.params_model, raw, params_file, f"extract.{stream}")


def finetune_params(
    stream: str, raw: dict[str, Any], params_file: Path
) -> tuple[type[Encoder], StreamParams, FinetuneParams]:
    """`finetune.STREAM`: a stream's params as `stream_params` gives them, and those under its `training`.

    Raises:
        UserError: as `stream_params`; also an encoder whose weights cannot be fitted.
    """
    prefix = f"finetune.{stream}"
    kind = _class(prefix, raw, params_file)
    if not issubclass(kind, Trainable):
        raise UserError(
            f"{params_file}: {prefix}.encoder={raw['encoder']!r}: has no weights that can be fine-tuned; text and "
            "speech encoders have"
        )
    # One model of both, so that all mistakes are told at once and a misspelt `training` is known for what it is.
    both = create_model("Both", __base__=kind.params_model, training=(FinetuneParams, FinetuneParams()))
    training = validate(both, raw, params_file, prefix).training  # type: ignore[attr-defined]
    own = {key: value for key, value in raw.items() if key != "training"}
    return kind, validate(kind.params_model, own, params_file, prefix), training


def build(stream: str, raw: dict[str, Any], params_file: Path, media: Path) -> Encoder:
    """The encoder of a stream, without its weights loaded.

    Args:
        raw: the mapping under `extract.STREAM`.
        media: the folder that media paths are relative to.

    Raises:
        UserError: as `stream_params`, or what the encoder's constructor says of its params.
    """
    kind, params = stream_params(stream, raw, params_file)
    return kind(params, media)


def _class(prefix: str, raw: dict[str, Any], params_file: Path) -> type[Encoder]:
    name = raw.get("encoder")
    if not isinstance(name, str):
        raise UserError(
            f"{params_file}: {prefix}.encoder: must name an encoder ({', '.join(sorted(REGISTRY))})"
        )
    try:
        return encoder_class(name)
    except UserError as error:
        raise UserError(f"{params_file}: {prefix}.encoder: {error}") from None
