"""The sections `model` and `loss` as the chosen model understands them.

Each model has params of its own (train/models/NAME). A key of another model's may stand there, so that
`-S model.name=NAME` leads from any preset to any model; the chosen one does not read it. A key that no model has is an
error.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.messages import nearest
from pipeline.params import PARAMS, Params
from pipeline.strict import Strict, validate
from train.models import MODELS
from train.models.declaration import FusionModel, ModelParams
from train.record import Settings


@dataclass(frozen=True)
class Fusion:
    """A fusion model, and its own params alone."""

    declared: FusionModel
    model: ModelParams
    loss: Strict

    def record(self) -> dict[str, dict[str, Any]]:
        """Return both sections as JSON: what model.json holds, and what decides the model."""
        return {"model": self.model.model_dump(mode="json"), "loss": self.loss.model_dump(mode="json")}


def declared(name: str, path: Path = PARAMS) -> FusionModel:
    """Import a model's declaration.

    Raises:
        UserError: there is no model of that name.
    """
    if name not in MODELS:
        raise UserError(
            f"{path}: model.name={name!r}: no such model{nearest(name, MODELS)} (there are {', '.join(MODELS)})"
        )
    model: FusionModel = importlib.import_module(MODELS[name]).Model()
    return model


def fusion(params: Params, path: Path = PARAMS) -> Fusion:
    """Return the model that params choose; keys that it does not read are passed over.

    Raises:
        UserError: no such model, a value out of bounds, or no stream that it could read.
    """
    model = declared(params.model.name, path)
    _streams(model, params, path)
    own = _known(model)
    read = {s: {k: v for k, v in there.items() if k in own[s]} for s, there in _sections(params).items()}
    return _validated(model, read, path)


def recorded(settings: Settings, path: Path) -> Fusion:
    """Return the model of a record, which has no keys but its own.

    Raises:
        UserError: no such model, an unknown key, or a value out of bounds.
    """
    return _validated(declared(settings.model.name, path), _sections(settings), path)


def _validated(model: FusionModel, sections: Mapping[str, Any], path: Path) -> Fusion:
    return Fusion(
        model,
        validate(model.params, sections["model"], path, "model"),
        validate(model.loss_params, sections["loss"], path, "loss"),
    )


def unread(params: Params, path: Path = PARAMS) -> str:
    """Return one line that names the params which only other models read; empty where there are none.

    Raises:
        UserError: a key that no model has.
    """
    own, found, wrong = _known(declared(params.model.name, path)), [], []
    for section, there in _sections(params).items():
        extra = [key for key in there if key not in own[section]]
        known = {key for name in MODELS if extra for key in _known(declared(name, path))[section]}
        found += [f"{section}.{key}" for key in extra if key in known]
        wrong += [
            f"{section}.{key}: unknown key{nearest(key, sorted(known))}; {params.model.name} reads "
            + (", ".join(own[section]) or "none here")
            for key in extra
            if key not in known
        ]
    if wrong:
        raise UserError(f"{path}: " + "\n  ".join(wrong))
    return f"model.name={params.model.name} does not read {', '.join(found)}" if found else ""


def _sections(params: Params | Settings) -> dict[str, dict[str, Any]]:
    return {"model": params.model.model_dump(), "loss": params.loss}


def _known(model: FusionModel) -> dict[str, list[str]]:
    return {"model": list(model.params.model_fields), "loss": list(model.loss_params.model_fields)}


def _streams(model: FusionModel, params: Params, path: Path) -> None:
    """Raise UserError where no stream in use is of a modality that the model reads, or one has no frames for it."""
    name, reads = params.model.name, model.modalities
    used = [stream for m, stream in params.train.streams.in_use().items() if m in reads]
    if not used:
        raise UserError(
            f"{path}: model.name={name} reads {' and '.join(reads)}: name a stream in "
            + " or ".join(f"train.streams.{m}" for m in reads)
        )
    if model.reads == "frames":
        for section, streams in (("extract", params.extract), ("finetune", params.finetune)):
            for stream in used:
                if stream in streams and streams[stream].get("frames", "none") == "none":
                    raise UserError(
                        f"{path}: {section}.{stream}.frames=none: model.name={name} reads frames; set it to f2"
                    )
