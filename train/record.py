"""The typed record in models/seedN/model.json."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, JsonValue, model_validator

from pipeline import names
from pipeline.names import Label, StreamName
from pipeline.params import MODALITIES, Count, ModelSection, TargetKind, TrainParams
from pipeline.strict import Strict

if TYPE_CHECKING:
    from pipeline.features import Meta

# The model computes in float32, so larger statistics would overflow.
_LARGEST = float(np.finfo(np.float32).max)
Modality = Annotated[str, Field(pattern=rf"^({'|'.join(MODALITIES)})$")]
Mean = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
Spread = Annotated[float, Field(ge=0, le=_LARGEST)]
Natural = Annotated[int, Field(ge=0, lt=2**31)]
Classes = Annotated[list[Natural], Field(min_length=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class WeightsRecord(Strict):
    """An encoder's weights; every field is empty if it has none.

    Attributes:
        name: a hub id, `package:NAME`, or the last part of a local path.
        revision: the commit of a hub id.
        sha256: 64 hex digits.
    """

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
            raise ValueError(f"weights.sha256={self.sha256[:80]!r}: not a sha256 (64 hex digits)")
        return self


class StreamRecord(Strict):
    """The origin of a stream's features, copied from its cache (`pipeline.features.Meta`)."""

    stream: StreamName
    corpus: str
    encoder: dict[str, JsonValue]
    weights: WeightsRecord
    packages: dict[str, str]
    code: str
    fingerprint: str


class StatisticsRecord(Strict):
    """Mean and standard deviation, both [D], of the train split's features."""

    mean: list[Mean]
    sd: list[Spread]


class ScaleRecord(Strict):
    """Mean and standard deviation of a value on the train split."""

    mean: Mean
    sd: Annotated[float, Field(gt=0, le=_LARGEST)]


class Settings(Strict):
    """The sections of params.yaml that determine a model.

    `model` and `loss` hold only the model's own keys (train/fusion/params.py).
    """

    train: TrainParams
    model: ModelSection
    loss: dict[str, JsonValue]


class Record(Strict):
    """A trained model.

    Attributes:
        seed: the seed of the run.
        params: the params that determine the model.
        target: what the model learned, `corpus.target`.
        labels: the names of the C outputs, labels or values, in the order of the logits.
        class_counts: [C] number of labelled train utterances per label, or of rated ones per value.
        scale: [C] the scale of each value; empty for labels.
        dims: modality in use → feature size.
        statistics: modality in use → the statistics that normalise its features.
        streams: modality in use → the origin of its features.
        dropped: modality → why it was not used.
        best_epoch: the epoch that was chosen on val, from 1.
        temperature: divides the logits, so that probabilities are calibrated (train/calibration.py).
        thresholds: [C] the probability from which each label applies, for several labels per utterance; else empty.
        far: modality → the distance above which an utterance is far from training (train/distance.py).
        distance: sha256 of distance.safetensors; empty if no stream has a distance, and for records of earlier
            versions, whose `far` is of another distance.
        packages: package → version.
        code: sha256 of the source of the network.
    """

    seed: Natural
    params: Settings
    target: TargetKind = "single"
    labels: list[Label]
    class_counts: Classes
    scale: list[ScaleRecord] = Field(default_factory=list)
    dims: Annotated[dict[Modality, Count], Field(min_length=1)]
    statistics: dict[Modality, StatisticsRecord]
    streams: dict[Modality, StreamRecord]
    dropped: dict[Modality, str]
    best_epoch: Count
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    thresholds: list[Probability] = Field(default_factory=list)
    far: dict[Modality, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    distance: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    packages: dict[str, str]
    code: str

    @model_validator(mode="after")
    def _fits_together(self) -> Record:
        if len(self.labels) != len(self.class_counts) or len(set(self.labels)) < len(self.labels):
            raise ValueError(
                f"labels: {len(self.labels)} labels for {len(self.class_counts)} counts, or a duplicate label"
            )
        if self.target != "values" and len(self.labels) < 2:
            raise ValueError(
                f"labels: {len(self.labels)} label for target={self.target}, which has at least 2"
            )
        for name, kind in (("scale", "values"), ("thresholds", "multi")):
            wanted = len(self.labels) if self.target == kind else 0
            if len(getattr(self, name)) != wanted:
                raise ValueError(
                    f"{name}: {len(getattr(self, name))} entries instead of {wanted} for target={self.target}"
                )
        for part, found in (("statistics", self.statistics), ("streams", self.streams)):
            if set(found) != set(self.dims):
                raise ValueError(
                    f"{part}: has {', '.join(found) or 'no modality'}, but dims has {', '.join(self.dims)}"
                )
        if strange := sorted(set(self.far) - set(self.dims)):
            raise ValueError(f"far: has {strange[0]}, but dims has {', '.join(self.dims)}")
        for modality, size in self.dims.items():
            known = self.statistics[modality]
            if (len(known.mean), len(known.sd)) != (size, size):
                raise ValueError(
                    f"statistics.{modality}: {len(known.mean)} means and {len(known.sd)} sd for {size} features"
                )
            if not any(known.sd):
                raise ValueError(
                    f"statistics.{modality}.sd: every value is 0, so every feature would be constant"
                )
        if "torch" not in self.packages:
            raise ValueError("packages.torch: missing")
        return self


def stream_record(meta: Meta) -> dict[str, Any]:
    """Return the fields of a `StreamRecord` from a cache's metadata."""
    return {name: getattr(meta, name) for name in StreamRecord.model_fields}
