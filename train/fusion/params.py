"""The sections `model` and `loss` of params.yaml, validated for the chosen model.

Each model declares its own params (train/models/NAME). Keys of other models are allowed and ignored, so that
`-S model.name=NAME` works from any preset. A key that no model declares is an error.
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
    """A fusion model with its params.

    Attributes:
        declared: the model's declaration.
        model: the section `model`, without other models' keys.
        loss: the section `loss`, without other models' keys.
    """

    declared: FusionModel
    model: ModelParams
    loss: Strict

    @property
    def causal(self) -> bool:
        """Whether no output of the network depends on later turns."""
        return self.declared.past_only or bool(getattr(self.model, "causal", False))

    def record(self) -> dict[str, dict[str, Any]]:
        """Return both sections as JSON values, for model.json."""
        return {"model": self.model.model_dump(mode="json"), "loss": self.loss.model_dump(mode="json")}


def declared(name: str, path: Path = PARAMS) -> FusionModel:
    """Import a model's declaration.

    Args:
        name: the value of `model.name`.
        path: the file that holds it, for messages.

    Raises:
        UserError: there is no model of that name.
    """
    if name not in MODELS:
        raise UserError(
            f"{path}: model.name={name!r}: no such model{nearest(name, MODELS)}; use one of {', '.join(MODELS)}"
        )
    model: FusionModel = importlib.import_module(MODELS[name]).Model()
    return model


def fusion(params: Params, path: Path = PARAMS) -> Fusion:
    """Return the model that params choose, ignoring other models' keys.

    Args:
        params: the validated params.
        path: the file that holds them, for messages.

    Raises:
        UserError: no such model, a value out of bounds, no stream that the model can read, or a term of the loss that
            `corpus.target` does not allow.
    """
    model = declared(params.model.name, path)
    _check_streams(model, params, path)
    own = _known(model)
    read = {s: {k: v for k, v in there.items() if k in own[s]} for s, there in _sections(params).items()}
    chosen = _validated(model, read, path)
    _check_target(chosen, params, path)
    return chosen


def recorded(settings: Settings, path: Path) -> Fusion:
    """Return the model of a record, which may hold only that model's keys.

    Args:
        settings: the params in the record.
        path: the record's file, for messages.

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
    """Return a line that lists the params that only other models read, or an empty string.

    Args:
        params: the validated params.
        path: the file that holds them, for messages.

    Raises:
        UserError: a key that no model declares.
    """
    own, found, wrong = _known(declared(params.model.name, path)), [], []
    for section, there in _sections(params).items():
        extra = [key for key in there if key not in own[section]]
        known = {key for name in MODELS if extra for key in _known(declared(name, path))[section]}
        found += [f"{section}.{key}" for key in extra if key in known]
        wrong += [
            f"{section}.{key}: unknown key{nearest(key, sorted(known))}; {params.model.name} reads "
            + (", ".join(own[section]) or "no key of this section")
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


def _check_target(chosen: Fusion, params: Params, path: Path) -> None:
    """Raise UserError if a term of the loss needs one label per utterance, and the corpus has several or none."""
    used = [f"loss.{name}" for name in chosen.declared.one_label if getattr(chosen.loss, name)]
    if used and params.corpus.target in ("multi", "values"):
        terms = "; ".join(f"{name}={getattr(chosen.loss, name.removeprefix('loss.')):g}" for name in used)
        raise UserError(
            f"{path}: {terms}: this term of the loss needs one label per utterance, but "
            f"corpus.target={params.corpus.target}; set {' and '.join(f'{name}=0' for name in used)}"
        )


def _check_streams(model: FusionModel, params: Params, path: Path) -> None:
    """Raise UserError if no stream in use has a modality that the model reads, or if a stream lacks its frames."""
    name, reads = params.model.name, model.modalities
    used = [stream for m, stream in params.train.streams.in_use().items() if m in reads]
    if not used:
        raise UserError(
            f"{path}: model.name={name} reads {' and '.join(reads)}, and no such stream is in use; set "
            + " or ".join(f"train.streams.{m}" for m in reads)
        )
    if model.reads == "frames":
        for section, streams in (("extract", params.extract), ("finetune", params.finetune)):
            for stream in used:
                if stream in streams and streams[stream].get("frames", "none") == "none":
                    raise UserError(
                        f"{path}: {section}.{stream}.frames=none: model.name={name} reads frames; set it to f2"
                    )
