"""A trained model as it tells of itself: its network, and the encoders that made what it was trained on.

Nothing comes from params.yaml. Other params or weights than the record's would give features the network was not
made for: an error. Other code or packages mostly give the same: a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from extract import encoders
from extract.contract import Encoder
from pipeline.errors import UserError
from pipeline.params import PARAMS, TrainParams
from pipeline.settings import read_yaml
from train.checkpoint import model_code, read_model
from train.data.corpus import Statistics
from train.fusion.build import restored
from train.fusion.params import Fusion, recorded
from train.record import StreamRecord


@dataclass(frozen=True)
class Trained:
    """A model and what its inputs are made by.

    Attributes:
        encoders: modality → the stream's encoder, equal to the one of training.
        streams: modality → the stream's name.
        warnings: what differs from training and should not matter.
    """

    network: nn.Module
    labels: list[str]
    dims: dict[str, int]
    encoders: dict[str, Encoder]
    streams: dict[str, str]
    statistics: dict[str, Statistics]
    fusion: Fusion
    train: TrainParams
    corpus: str
    warnings: list[str]

    @property
    def name(self) -> str:
        return self.fusion.model.name


def open_model(folder: Path, weights: Mapping[str, str], media: Path) -> Trained:
    """The model in `folder` (models/seedN), ready for recordings below `media`.

    Args:
        weights: stream → where its weights lie, for those that the record cannot name.

    Raises:
        UserError: the model is missing or damaged, or its features cannot be made here as they were.
    """
    state, record = read_model(folder)
    path = folder / "model.json"
    streams = {m: stream.stream for m, stream in record.streams.items()}
    if unknown := sorted(set(weights) - set(streams.values())):
        raise UserError(
            f"--weights {unknown[0]}=…: the model has no such stream; it has {', '.join(streams.values())}"
        )
    found, warnings = {}, []
    for modality, stream in record.streams.items():
        found[modality] = _encoder(stream, path, weights, media)
        warnings += _differences(stream, found[modality], path)
    if record.packages["torch"] != torch.__version__:
        warnings.append(f"torch {torch.__version__} here, {record.packages['torch']} in training")
    fusion = recorded(record.params, path)
    if record.code != model_code(fusion.model.name):
        warnings.append(f"the source of the model {fusion.model.name} is not as it was in training")
    return Trained(
        network=restored(folder, state, fusion, record.dims, torch.tensor(record.class_counts)),
        labels=record.labels,
        dims=dict(record.dims),
        encoders=found,
        streams=streams,
        statistics={m: Statistics(np.array(s.mean), np.array(s.sd)) for m, s in record.statistics.items()},
        fusion=fusion,
        train=record.params.train,
        corpus=next(iter(record.streams.values())).corpus,
        warnings=warnings,
    )  # fmt: skip


def _encoder(stream: StreamRecord, path: Path, given: Mapping[str, str], media: Path) -> Encoder:
    name, raw = stream.stream, dict(stream.encoder)
    if raw.get("encoder") not in encoders.REGISTRY:
        raise UserError(
            f"{path}: stream {name}: its features were not extracted here (encoder {raw.get('encoder')!r}), so "
            "they cannot be made for new recordings"
        )
    if stream.weights.name:
        raw["weights"] = _weights(stream, path, given)
        if name in given and Path(given[name]).exists():
            raw.pop("revision", None)  # a hub model's copy; its content is what must fit
    encoder = encoders.build(name, raw, path, media)
    try:
        encoder.weights()
    except UserError as error:
        raise UserError(f"{path}: stream {name}: {error}; or say --weights {name}=PATH") from None
    return encoder


def _weights(stream: StreamRecord, path: Path, given: Mapping[str, str]) -> str:
    """What `weights:` must say. Local weights are recorded by their last part, since a path is one machine's."""
    name, weights = stream.stream, stream.weights.name
    if name in given:
        return given[name]
    if weights.startswith("package:") or stream.encoder.get("revision"):
        return weights
    for place in _places(name, weights):
        if place.exists():
            return str(place)
    raise UserError(
        f"{path}: stream {name}: its weights {weights!r} were local files; say where they are: --weights {name}=PATH"
    )


def _places(stream: str, weights: str) -> Iterator[Path]:
    """Where this project would have a stream's local weights. Only a hint: their hash is what counts."""
    if PARAMS.exists():
        named = (read_yaml(PARAMS).get("extract") or {}).get(stream) or {}
        if isinstance(named.get("weights"), str):
            yield Path(named["weights"])
    yield Path("weights") / weights
    yield Path(weights)


def _differences(stream: StreamRecord, encoder: Encoder, path: Path) -> list[str]:
    """What differs and may; raises where what differs may not."""
    name, here = stream.stream, encoder.provenance()
    there = {**stream.encoder, "revision": here["encoder"].get("revision")}
    for field in sorted({*there, *here["encoder"]}):
        if there.get(field) != here["encoder"].get(field):
            raise UserError(
                f"{path}: stream {name}: made with {field}={there.get(field)!r}; this version of the encoder "
                f"{here['encoder']['encoder']} makes it {here['encoder'].get(field)!r}"
            )
    if stream.weights.sha256 != here["weights"]["sha256"]:
        raise UserError(
            f"{path}: stream {name}: trained on features of other weights (sha256 "
            f"{stream.weights.sha256[:12]}…) than {here['weights']['name']} is here "
            f"({here['weights']['sha256'][:12]}…)"
        )
    warnings = [
        f"{name}: {package} {version} here, {stream.packages.get(package, 'none')} in training"
        for package, version in here["packages"].items()
        if version != stream.packages.get(package)
    ]
    if stream.code != here["code"]:
        warnings.append(f"{name}: the encoder's code is not as it was in training")
    return warnings
