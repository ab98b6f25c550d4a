"""The streams of params.yaml: their names, their params, their encoders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from extract.contract import Encoder
from extract.crossfit import CrossfitEncoder, read_parts, without
from extract.encoders import build, finetune_params, stream_params
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.messages import listed, nearest
from pipeline.params import PARAMS, FinetuneParams, Params, load

# Fine-tuned weights, one folder per stream.
WEIGHTS = Path("weights")


def load_checked(path: Path = PARAMS) -> Params:
    """Read params.yaml and validate each stream with its encoder's own params class.

    Raises:
        UserError: params are invalid; lists all problems with field and value.
    """
    params = load(path)
    problems = [
        f"{path}: finetune.{n}: `extract` also has a stream `{n}`; rename one of them"
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


def encoder_of(stream: str, params: Params, path: Path = PARAMS) -> Encoder[Any]:
    """Return a stream's encoder with no weights loaded. A stream under `finetune` uses weights/STREAM.

    Raises:
        UserError: the stream does not exist, its params are invalid, or its fine-tuned weights are missing.
    """
    if stream in params.finetune:
        kind, own, _ = finetune_params(stream, params.finetune[stream], path)
        if not has_weights(stream):
            raise UserError(
                f"{WEIGHTS / stream}: no fine-tuned weights; run `dvc repro finetune@{stream}` to make them"
            )
        parts = read_parts(WEIGHTS / stream)
        folders = [WEIGHTS / stream, *(WEIGHTS / stream / without(k + 1) for k in range(len(parts)))]
        whole, *others = (
            kind(own.model_copy(update={"weights": str(f), "revision": ""}), media_root(params.corpus.root))
            for f in folders
        )
        encoder = CrossfitEncoder(whole, others, parts) if parts else whole
        return _with_valid_frames(encoder, f"{path}: finetune.{stream}")
    if stream in params.extract:
        encoder = build(stream, params.extract[stream], path, media_root(params.corpus.root))
        encoder.kept = Path(os.environ.get("DVC_ROOT") or ".") / ".cache" / "kept"
        return _with_valid_frames(encoder, f"{path}: extract.{stream}")
    raise unknown(stream, params, path)


def unknown(stream: str, params: Params, path: Path = PARAMS) -> UserError:
    """Return the error for a stream that is not in params.yaml."""
    known = [*params.extract, *params.finetune]
    return UserError(
        f"{path}: no stream `{stream}` under extract or finetune{nearest(stream, known)}; "
        f"use one of: {listed(known) or 'none'}"
    )


def base_of(stream: str, params: Params, path: Path = PARAMS) -> tuple[Encoder[Any], FinetuneParams]:
    """Return the encoder that a `finetune` entry starts from, and its training params.

    Raises:
        UserError: the entry does not exist or is invalid.
    """
    if stream not in params.finetune:
        raise UserError(
            f"{path}: no `{stream}` under finetune{nearest(stream, list(params.finetune))}; "
            f"use one of: {listed(params.finetune) or 'none'}"
        )
    kind, own, training = finetune_params(stream, params.finetune[stream], path)
    return kind(own, media_root(params.corpus.root)), training


def has_weights(stream: str) -> bool:
    """Return whether the `finetune` stage has written weights for a stream."""
    return (WEIGHTS / stream / "config.json").is_file()


def stage_of(stream: str, params: Params) -> str:
    """Return the name of the stage in dvc.yaml that extracts a stream."""
    return f"{'extract_finetuned' if stream in params.finetune else 'extract'}@{stream}"


def _with_valid_frames(encoder: Encoder[Any], field: str) -> Encoder[Any]:
    if encoder.params.frames != "none" and not encoder.frames_dim:
        raise UserError(
            f"{field}.frames={encoder.params.frames}: the encoder {encoder.params.encoder} has no frames; set "
            "frames to none"
        )
    return encoder
