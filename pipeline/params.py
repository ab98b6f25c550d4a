"""params.yaml, typed and validated: every knob of every stage, its default and its bounds.

    python -m evaluate.check      # what the `check` stage runs: this file's models and each encoder's own

An unknown key is an error that names the nearest known one. Encoders keep their own models beside their
code (subclasses of `StreamParams`), so a new encoder needs no line here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.messages import nearest
from pipeline.names import FileName, Label, StreamName, StreamOrNone
from pipeline.settings import read_yaml
from pipeline.strict import Strict, validate

PARAMS = Path("params.yaml")
FEATURES = Path("data/features")
MODALITIES = ("text", "audio", "visual")
# Models that read frames, and of which modalities; the others read pooled features of all three.
FRAME_MODELS = {"foalnet": ("audio", "visual")}
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
# Far above what anybody trains; a mistyped one is told here, not by a full memory.
Size = Annotated[int, Field(ge=1, le=1 << 16)]


class CorpusParams(Strict):
    name: FileName
    build: list[Literal["demo"]] = Field(default_factory=list)
    watch: str
    root: str
    labels: Annotated[list[Label], Field(min_length=2)]
    # The defaults serve the commands alone: stages depend on both, and DVC demands what a stage depends on in the file.
    licence: str = ""
    keep_tags: bool = False

    @model_validator(mode="after")
    def _labels_differ(self) -> CorpusParams:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"corpus.labels={self.labels}: two of the names are the same")
        return self


# What a stream's params may change without changing a feature.
INERT = frozenset({"max_failed", "timeout"})


class StreamParams(Strict):
    """What every stream has; an encoder's own model adds to it.

    Attributes:
        max_failed: the largest share of utterances without features that is a success; 1 allows that none has any.
        timeout: seconds of work, which is not time by the clock, that one utterance may take.
    """

    encoder: str
    frames: Literal["none", "f2", "f4"] = "none"
    max_failed: Share = 0.5
    timeout: Positive = 600.0


class FinetuneParams(Strict):
    """`finetune.NAME.training`: how the weights of a stream are fitted to the train split.

    Attributes:
        fold: the session held out as test, or `none` for the corpus' own split; has to be that of `train.fold`.
        seed: decides order, dropout and, with a fold, which dialogues are val.
        batch_size: utterances of one step, all processes together.
        lr: the highest, reached after the share `warmup` of all steps; from there it falls to 0 in a line.
        clip: largest norm of the gradient.
        precision: of the computation; weights are kept in float32.
        threads: that compute on the CPU; another number gives other last bits.
    """

    fold: str | int = "none"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    epochs: Count = 3
    batch_size: Count = 32
    lr: Positive = 5e-5
    warmup: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Positive = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Count = 1


class StreamNames(Strict):
    text: StreamOrNone
    audio: StreamOrNone
    visual: StreamOrNone

    def in_use(self) -> dict[str, str]:
        """{modality: stream name}, without the modalities set to `none`."""
        return {m: getattr(self, m) for m in MODALITIES if getattr(self, m) != "none"}


class TrainParams(Strict):
    streams: StreamNames
    normalise: Literal["global", "speaker"] = "global"
    fold: str | int = "none"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seeds: Count = 1
    epochs: Count = 50
    patience: Count = 15
    batch_size: Count = 16
    lr: Positive = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    ema_epochs: Annotated[float, Field(ge=0)] = 1.5
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Count = 1
    keep_epochs: bool = False
    frames: Literal["f2", "f4"] = "f2"
    audio_seconds: Positive = 6.0
    visual_frames: Count = 180


class ModelParams(Strict):
    name: Literal["multiemo", "foalnet", "majority", "logreg", "bclstm", "dialoguernn"]
    compat: Literal["default", "published"] = "default"
    dim: Size = 256
    heads: Size = 4
    ffn: Size = 1024
    layers: Annotated[int, Field(ge=1, le=256)] = 2
    head: Size = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    bidirectional: bool = True
    text_rnn: bool = True
    multiattn: bool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelParams:
        if self.dim % self.heads:
            raise ValueError(f"model.dim={self.dim} is not divisible by model.heads={self.heads}")
        return self


class LossParams(Strict):
    mu1: Share = 0.3
    mu2: Share = 0.3
    temperature: Positive = 1.0
    focus: Annotated[float, Field(ge=0)] = 2.0
    alpha: Annotated[float, Field(ge=0)] = 1.0
    soft_hgr: Literal["scaled", "exact"] = "scaled"
    swfc_weights: Literal["normalised", "raw"] = "normalised"
    avel: Annotated[float, Field(ge=0)] = 1.0
    mem: Annotated[float, Field(ge=0)] = 0.1

    @model_validator(mode="after")
    def _weights(self) -> LossParams:
        if self.mu1 + self.mu2 > 1:
            raise ValueError(
                f"loss.mu1={self.mu1} + loss.mu2={self.mu2} = {self.mu1 + self.mu2:g} > 1, which leaves "
                "cross-entropy a negative weight: lower one of them"
            )
        return self


class EvaluateParams(Strict):
    bootstrap: Count = 1000
    oracle_test: bool = False


class Params(Strict):
    corpus: CorpusParams
    extract: dict[StreamName, dict[str, Any]]
    finetune: dict[StreamName, dict[str, Any]] = Field(default_factory=dict)
    train: TrainParams
    model: ModelParams
    loss: LossParams
    evaluate: EvaluateParams

    @model_validator(mode="after")
    def _streams_exist(self) -> Params:
        # A file that no stream makes was imported; its own record says where it comes from. In the folder of a queued
        # experiment it may not lie there yet, but what `dvc add` wrote of it does.
        imported = {
            path.name.split(".h5")[0] for kind in ("*.h5", "*.h5.dvc") for path in FEATURES.glob(kind)
        }
        imported -= {"none"}
        known = sorted({*self.extract, *self.finetune, *imported})
        for modality, name in self.train.streams.in_use().items():
            if name not in known:
                raise ValueError(
                    f"train.streams.{modality}={name!r} names no stream under `extract` or `finetune`"
                    f"{nearest(name, known)} (there are {', '.join(known)}; `none` drops the modality)"
                )
        if not self.train.streams.in_use():
            raise ValueError("train.streams: every modality is `none`; name a stream for at least one")
        self._frames_exist()
        if self.evaluate.oracle_test and not self.train.keep_epochs:
            raise ValueError("evaluate.oracle_test=true needs train.keep_epochs=true")
        return self

    def _frames_exist(self) -> None:
        reads = FRAME_MODELS.get(self.model.name)
        if reads is None:
            return
        used = {m: name for m, name in self.train.streams.in_use().items() if m in reads}
        if not used:
            raise ValueError(
                f"model.name={self.model.name} reads {' and '.join(reads)}: name a stream in "
                + " or ".join(f"train.streams.{m}" for m in reads)
            )
        for section, streams in (("extract", self.extract), ("finetune", self.finetune)):
            for name in used.values():
                if name in streams and streams[name].get("frames", "none") == "none":
                    raise ValueError(
                        f"{section}.{name}.frames=none: model.name={self.model.name} reads frames; set it to f2"
                    )


def load(path: Path = PARAMS) -> Params:
    """Read and validate a params file.

    Raises:
        UserError: unreadable YAML, an unknown key, a value out of bounds; all of them in one message.
    """
    return validate(Params, read_yaml(path), path)
