"""The streams of params.yaml: their names, their params, their encoders."""

from __future__ import annotations

import os
from pathlib import Path

from extract.contract import Encoder
from extract.encoders import build, finetune_params, stream_params
from pipeline.errors import UserError
from pipeline.messages import nearest
from pipeline.params import PARAMS, FinetuneParams, Params, load

# Folders of weights that the `finetune` stage fitted, one a stream.
WEIGHTS = Path("weights")


def load_checked(path: Path = PARAMS) -> Params:
    """params.yaml, every stream also checked against its encoder's own model; all problems in one message.

    Raises:
        UserError: what is wrong, with field and value.
    """
    params = load(path)
    problems = [
        f"{path}: finetune.{n}: `extract` has a stream of that name"
        for n in params.finetune
        if n in params.extract
    ]
    for section, streams in (("extract", params.extract), ("finetune", params.finetune)):
        for name, raw in streams.items():
            try:
                (stream_params if section == "extract" else finetune_params)(name, raw, path)
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return params


def encoder_of(stream: str, params: Params, path: Path = PARAMS) -> Encoder:
    """A stream's encoder, without its weights loaded; that of a `finetune` entry reads weights/STREAM.

    Raises:
        UserError: there is no such stream, its params are wrong, or its weights are not there.
    """
    if stream in params.finetune:
        kind, own, _ = finetune_params(stream, params.finetune[stream], path)
        if not has_weights(stream):
            raise UserError(
                f"{WEIGHTS / stream}: no fine-tuned weights there; `dvc repro finetune@{stream}` makes them"
            )
        own = own.model_copy(update={"weights": str(WEIGHTS / stream), "revision": ""})
        return _has_frames(kind(own, _media(params)), f"{path}: finetune.{stream}")
    if stream in params.extract:
        encoder = build(stream, params.extract[stream], path, _media(params))
        return _has_frames(encoder, f"{path}: extract.{stream}")
    known = [*params.extract, *params.finetune]
    raise UserError(
        f"{path}: no stream `{stream}` under extract{nearest(stream, known)} (there are {', '.join(known) or 'none'})"
    )


def base_of(stream: str, params: Params, path: Path = PARAMS) -> tuple[Encoder, FinetuneParams]:
    """The encoder that a `finetune` entry starts from, and how it is to be trained.

    Raises:
        UserError: there is no such entry, or it is wrong.
    """
    if stream not in params.finetune:
        raise UserError(
            f"{path}: no `{stream}` under finetune{nearest(stream, list(params.finetune))} "
            f"(there are {', '.join(params.finetune) or 'none'})"
        )
    kind, own, training = finetune_params(stream, params.finetune[stream], path)
    return kind(own, _media(params)), training


def has_weights(stream: str) -> bool:
    """Whether the `finetune` stage has left weights for a stream."""
    return (WEIGHTS / stream / "config.json").is_file()


def stage_of(stream: str, params: Params) -> str:
    """The stage of dvc.yaml that extracts a stream."""
    return f"{'extract_finetuned' if stream in params.finetune else 'extract'}@{stream}"


def _media(params: Params) -> Path:
    return Path(os.environ.get("EMOFUSE_MEDIA") or params.corpus.root)


def _has_frames(encoder: Encoder, field: str) -> Encoder:
    if encoder.params.frames != "none" and not encoder.frames_dim:
        raise UserError(
            f"{field}.frames={encoder.params.frames}: the encoder {encoder.params.encoder} has no frames; set "
            "it to none"
        )
    return encoder
