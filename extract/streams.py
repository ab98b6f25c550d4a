"""The streams of params.yaml: their names, their params, their encoders."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from extract.contract import Encoder
from extract.encoders import build, stream_params
from pipeline.errors import UserError
from pipeline.params import PARAMS, Params, load

# Words of `python -m extract` and of `train.streams`; a stream of such a name could not be asked for.
RESERVED = ("check", "status", "retry", "clean", "none")


def load_checked(path: Path = PARAMS) -> Params:
    """params.yaml, every stream also checked against its encoder's own model; all problems in one message.

    Raises:
        UserError: what is wrong, with field and value.
    """
    params = load(path)
    problems = []
    for section, streams in (("extract", params.extract), ("finetune", params.finetune)):
        problems += [f"{path}: {section}.{name}: {why}" for name in streams if (why := _bad_name(name))]
    problems += [
        f"{path}: finetune.{n}: `extract` has a stream of that name"
        for n in params.finetune
        if n in params.extract
    ]
    for name, raw in params.extract.items():
        try:
            stream_params(name, raw, path)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return params


def encoder_of(stream: str, params: Params, path: Path = PARAMS) -> Encoder:
    """A stream's encoder, without its weights loaded.

    Raises:
        UserError: there is no such stream, its params are wrong, or its weights are not there.
    """
    if stream not in params.extract:
        close = difflib.get_close_matches(stream, params.extract, n=1, cutoff=0.5)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        raise UserError(
            f"{path}: no stream `{stream}` under extract{hint} (there are {', '.join(params.extract) or 'none'})"
        )
    media = Path(os.environ.get("EMOFUSE_MEDIA") or params.corpus.root)
    encoder = build(stream, params.extract[stream], path, media)
    if encoder.params.frames != "none" and not encoder.frames_dim:
        raise UserError(
            f"{path}: extract.{stream}.frames={encoder.params.frames}: the encoder {encoder.params.encoder} has no "
            "frames; set it to none"
        )
    return encoder


def _bad_name(name: str) -> str:
    if name in RESERVED:
        return f"is a word of the command line ({', '.join(RESERVED)}); choose another name"
    if not name or not all(c.isalnum() or c in "-_" for c in name) or name.startswith("-"):
        return "a stream's name is made of letters, digits, - and _, since it names a file and a stage"
    return ""
