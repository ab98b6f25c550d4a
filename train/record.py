"""What models/seedN/model.json says: one typed record, for training, which writes it, and for all that read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, JsonValue, model_validator

from pipeline import names
from pipeline.names import Label, StreamName
from pipeline.params import MODALITIES, Count, ModelSection, TrainParams
from pipeline.strict import Strict

if TYPE_CHECKING:
    from pipeline.features import Meta

# Features are f4, and so are their mean and standard deviation.
_LARGEST = float(np.finfo(np.float32).max)
Modality = Annotated[str, Field(pattern=rf"^({'|'.join(MODALITIES)})$")]
Mean = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
Spread = Annotated[float, Field(ge=0, le=_LARGEST)]
Natural = Annotated[int, Field(ge=0, lt=2**31)]
Classes = Annotated[list[Natural], Field(min_length=2)]


class WeightsRecord(Strict):
    """An encoder's weights; all three are empty where it has none. Local ones are named by their path's last part."""

    name: str = ""
    revision: str = ""
    sha256: str = ""

    @model_validator(mode="after")
    def _names_a_place(self) -> WeightsRecord:
        if self.name and not self.name.startswith("package:") and not self.revision:
            try:
                names.file(self.name)
            except ValueError as error:
                raise ValueError(f"weights.name={self.name[:80]!r}: {error}") from None
        if self.sha256 and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"weights.sha256={self.sha256[:80]!r}: is no sha256 (64 hex digits)")
        return self


class StreamRecord(Strict):
    """Where a stream's features come from, as its cache says (`pipeline.features.Meta`)."""

    stream: StreamName
    corpus: str
    encoder: dict[str, JsonValue]
    weights: WeightsRecord
    packages: dict[str, str]
    code: str
    fingerprint: str


class StatisticsRecord(Strict):
    """Mean and standard deviation [D] of the train split's features."""

    mean: list[Mean]
    sd: list[Spread]


class Settings(Strict):
    """The sections of params.yaml that decide a model; `model` and `loss` are as train/fusion/params.py reads them."""

    train: TrainParams
    model: ModelSection
    loss: dict[str, JsonValue]


class Record(Strict):
    """A trained model.

    Attributes:
        labels: the emotions' names in the order of the model's answers; `class_counts` their train utterances.
        dims: modality → size of its features; `statistics` and `streams` are of the same modalities.
        dropped: modality → why training went without it.
        code: sha256 of the networks' source.
    """

    seed: Natural
    params: Settings
    labels: list[Label]
    class_counts: Classes
    dims: Annotated[dict[Modality, Count], Field(min_length=1)]
    statistics: dict[Modality, StatisticsRecord]
    streams: dict[Modality, StreamRecord]
    dropped: dict[Modality, str]
    best_epoch: Count
    packages: dict[str, str]
    code: str

    @model_validator(mode="after")
    def _fits_together(self) -> Record:
        if len(self.labels) != len(self.class_counts) or len(set(self.labels)) < len(self.labels):
            raise ValueError(
                f"labels: {len(self.labels)} for {len(self.class_counts)} counts, or one of them twice"
            )
        for part, found in (("statistics", self.statistics), ("streams", self.streams)):
            if set(found) != set(self.dims):
                raise ValueError(
                    f"{part}: of {', '.join(found) or 'nothing'}, but dims are of {', '.join(self.dims)}"
                )
        for modality, size in self.dims.items():
            known = self.statistics[modality]
            if (len(known.mean), len(known.sd)) != (size, size):
                raise ValueError(
                    f"statistics.{modality}: {len(known.mean)} means and {len(known.sd)} sd for {size} features"
                )
            if not any(known.sd):
                raise ValueError(f"statistics.{modality}.sd: all 0, so that the features would say nothing")
        if "torch" not in self.packages:
            raise ValueError("packages.torch: missing")
        return self


def stream_record(meta: Meta) -> dict[str, Any]:
    """Return what a `StreamRecord` takes of a cache."""
    return {name: getattr(meta, name) for name in StreamRecord.model_fields}
