"""Load a trained model from its record: the network, and the encoders that made its training features.

Params come from the record only, not from params.yaml. Different params or weights give features that the network was
not trained on, so they are errors. Different code or packages usually give the same features, so they are warnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from extract import encoders
from extract.contract import Encoder
from pipeline.errors import UserError
from pipeline.params import PARAMS, TrainParams
from pipeline.settings import read_yaml
from train import distance
from train.checkpoint import model_code, read_model
from train.data.corpus import Statistics
from train.distance import Region
from train.fusion.build import restored
from train.fusion.params import Fusion, recorded
from train.record import StreamRecord
from train.targets import recorded_goal
from train.targets.goal import Goal


@dataclass(frozen=True)
class Trained:
    """A model and the encoders of its inputs.

    Attributes:
        goal: what the model learned.
        encoders: modality → the stream's encoder, equal to the encoder of training.
        streams: modality → the stream's name.
        warnings: harmless differences from training.
        temperature, thresholds: of the calibration (train/calibration.py).
        regions: modality → the region of its features in training (train/distance.py).
    """

    network: nn.Module
    goal: Goal
    dims: dict[str, int]
    encoders: dict[str, Encoder[Any]]
    streams: dict[str, str]
    statistics: dict[str, Statistics]
    fusion: Fusion
    train: TrainParams
    corpus: str
    warnings: list[str]
    temperature: float
    thresholds: list[float]
    regions: dict[str, Region]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.fusion.model.name

    @property
    def labels(self) -> list[str]:
        """The names of the model's outputs."""
        return self.goal.names


def open_model(folder: Path, weights: Mapping[str, str], media: Path) -> Trained:
    """Return the trained model of a folder, ready for new recordings.

    Args:
        folder: the model's folder, models/seedN.
        weights: stream → path of its weights, for weights that were local files.
        media: the folder of the recordings.

    Raises:
        UserError: the model is missing or damaged, or its features cannot be reproduced here.
    """
    state, record = read_model(folder)
    path = folder / "model.json"
    streams = {m: stream.stream for m, stream in record.streams.items()}
    if unknown := sorted(set(weights) - set(streams.values())):
        raise UserError(
            f"--weights {unknown[0]}=…: the model has no such stream; name one of {', '.join(streams.values())}"
        )
    found, warnings = {}, []
    for modality, stream in record.streams.items():
        found[modality] = _encoder(stream, path, weights, media)
        warnings += _differences(stream, found[modality], path)
    if record.packages["torch"] != torch.__version__:
        warnings.append(f"torch {torch.__version__} here, {record.packages['torch']} in training")
    regions = distance.read(folder, record)
    if not regions:
        warnings.append(
            f"{path}: names no {distance.FILE}, so no utterance is named as far from training; `dvc repro train` "
            "with this version makes one"
        )
    fusion = recorded(record.params, path)
    if record.code != model_code(fusion.model.name):
        warnings.append(f"the source code of the model {fusion.model.name} has changed since training")
    return Trained(
        network=restored(folder, state, fusion, record.dims, recorded_goal(record)),
        goal=recorded_goal(record),
        dims=dict(record.dims),
        encoders=found,
        streams=streams,
        statistics={m: Statistics(np.array(s.mean), np.array(s.sd)) for m, s in record.statistics.items()},
        fusion=fusion,
        train=record.params.train,
        corpus=next(iter(record.streams.values())).corpus,
        warnings=warnings,
        temperature=record.temperature,
        thresholds=record.thresholds,
        regions=regions,
    )  # fmt: skip


def _encoder(stream: StreamRecord, path: Path, given: Mapping[str, str], media: Path) -> Encoder[Any]:
    name, raw = stream.stream, dict(stream.encoder)
    if raw.get("encoder") not in encoders.REGISTRY:
        raise UserError(
            f"{path}: stream {name}: its features were imported (encoder {raw.get('encoder')!r}), so "
            "they cannot be extracted from new recordings; train a model on extracted streams"
        )
    if stream.weights.name:
        raw["weights"] = _weights(stream, path, given)
        if name in given and Path(given[name]).exists():
            raw.pop("revision", None)  # a copy of a hub model; its hash is compared instead
    encoder = encoders.build(name, raw, path, media)
    try:
        encoder.weights()
    except UserError as error:
        raise UserError(f"{path}: stream {name}: {error}; or give --weights {name}=PATH") from None
    return encoder


def _weights(stream: StreamRecord, path: Path, given: Mapping[str, str]) -> str:
    """Return the value of `weights:`. The record has only the last part of a local path, which differs per machine."""
    name, weights = stream.stream, stream.weights.name
    if name in given:
        return given[name]
    if weights.startswith("package:") or stream.encoder.get("revision"):
        return weights
    for place in (path.parent / "weights" / weights, *_places(name, weights)):
        if place.exists():
            return str(place)
    raise UserError(
        f"{path}: stream {name}: its weights {weights!r} were local files; give their path: --weights {name}=PATH"
    )


def _places(stream: str, weights: str) -> Iterator[Path]:
    """Yield likely paths of a stream's local weights; the caller compares their hash."""
    if PARAMS.exists():
        named = (read_yaml(PARAMS).get("extract") or {}).get(stream) or {}
        if isinstance(named.get("weights"), str):
            yield Path(named["weights"])
    yield Path("weights") / weights
    yield Path(weights)


def _differences(stream: StreamRecord, encoder: Encoder[Any], path: Path) -> list[str]:
    """Return harmless differences as warnings; raise UserError for the others."""
    name, here = stream.stream, encoder.provenance()
    there = {**stream.encoder, "revision": here["encoder"].get("revision")}
    for field in sorted({*there, *here["encoder"]}):
        if there.get(field) != here["encoder"].get(field):
            raise UserError(
                f"{path}: stream {name}: made with {field}={there.get(field)!r}, but this version of the encoder "
                f"{here['encoder']['encoder']} has {here['encoder'].get(field)!r}; use the version of training"
            )
    if stream.weights.sha256 != here["weights"]["sha256"]:
        raise UserError(
            f"{path}: stream {name}: trained on features of weights with sha256 "
            f"{stream.weights.sha256[:12]}…, but {here['weights']['name']} has {here['weights']['sha256'][:12]}…; "
            f"give the weights of training: --weights {name}=PATH"
        )
    warnings = [
        f"{name}: {package} {version} here, {stream.packages.get(package, 'none')} in training"
        for package, version in here["packages"].items()
        if version != stream.packages.get(package)
    ]
    if stream.code != here["code"]:
        warnings.append(f"{name}: the encoder's code has changed since training")
    return warnings
