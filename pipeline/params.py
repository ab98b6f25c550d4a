"""params.yaml, typed and validated: every knob of every stage, its default and its bounds.

    python -m evaluate.check      # what the `check` stage runs: this file's models and each encoder's own

An unknown key is an error that names the nearest known one. Encoders and fusion models keep their own params beside
their code (extract/encoders, train/models), so that neither needs a line here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pipeline.errors import UserError
from pipeline.messages import nearest
from pipeline.names import FileName, Label, StreamName, StreamOrNone
from pipeline.settings import read_yaml
from pipeline.strict import Strict, validate

PARAMS = Path("params.yaml")
FEATURES = Path("data/features")
# How a file that no stage makes reaches queued experiments, `dvc push` and whoever pulls.
TRACK = "`dvc add {file} && git add {file}.dvc`"
MODALITIES = ("text", "audio", "visual")
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


class Plateau(Strict):
    """`train.plateau`: when the learning rate falls.

    Attributes:
        factor: what it is multiplied by once val's cross-entropy stands still.
        patience: epochs that it may stand still before that.
        threshold: the share of its best value by which it has to fall, else it stands still.
    """

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.95
    patience: Annotated[int, Field(ge=0)] = 10
    threshold: Annotated[float, Field(ge=0)] = 1e-6


class TrainParams(Strict):
    streams: StreamNames
    normalise: Literal["global", "speaker"] = "global"
    fold: str | int = "none"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seeds: Count = 1
    epochs: Count = 50
    patience: Count = 15
    batch_size: Count = 16
    optimiser: Literal["adam", "adamw"] = "adam"
    lr: Positive = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    plateau: Plateau = Plateau()
    ema_epochs: Annotated[float, Field(ge=0)] = 1.5
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Count = 1
    keep_epochs: bool = False
    frames: Literal["f2", "f4"] = "f2"
    audio_seconds: Positive = 6.0
    visual_frames: Count = 180


class ModelSection(Strict):
    """`model:`, the fusion model's name and, as they stand, its own params, which train/fusion/params.py validates."""

    model_config = ConfigDict(extra="allow")
    name: str


class EvaluateParams(Strict):
    bootstrap: Count = 1000
    oracle_test: bool = False


class Params(Strict):
    corpus: CorpusParams
    extract: dict[StreamName, dict[str, Any]]
    finetune: dict[StreamName, dict[str, Any]] = Field(default_factory=dict)
    train: TrainParams
    model: ModelSection
    loss: dict[str, Any]
    evaluate: EvaluateParams

    @model_validator(mode="after")
    def _oracle_has_epochs(self) -> Params:
        if self.evaluate.oracle_test and not self.train.keep_epochs:
            raise ValueError("evaluate.oracle_test=true needs train.keep_epochs=true")
        return self


def sections(path: Path = PARAMS) -> Params:
    """Read and validate a params file, whether or not the streams that it names are there yet.

    The tables come first: their ids are what features made elsewhere are imported by.

    Raises:
        UserError: unreadable YAML, an unknown key, a value out of bounds; all of them in one message.
    """
    return validate(Params, read_yaml(path), path)


def load(path: Path = PARAMS) -> Params:
    """Read and validate a params file whose streams are there: a stage makes them, or they were imported.

    Raises:
        UserError: as `sections`; or a stream in use that no stage makes and that was not imported.
    """
    params = sections(path)
    used = params.train.streams.in_use()
    if not used:
        raise UserError(f"{path}: train.streams: every modality is `none`; name a stream for at least one")
    made = {*params.extract, *params.finetune}
    # In the folder of a queued experiment an imported file may not lie yet, but what `dvc add` wrote of it does.
    imported = {file.name.split(".h5")[0] for kind in ("*.h5", "*.h5.dvc") for file in FEATURES.glob(kind)}
    known = sorted(made | imported - {"none"})
    problems = [
        f"{path}: train.streams.{modality}={name!r} names no stream under `extract` or `finetune`"
        f"{nearest(name, known)} (there are {', '.join(known) or 'none'}; `none` drops the modality), and nobody "
        f"imported {imported_to(name)}. For features made elsewhere: `dvc repro prepare`, then `python -m "
        f"pipeline.features import … --stream {name}`, then {TRACK.format(file=imported_to(name))}, without which a "
        "queued experiment lacks them"
        for modality, name in used.items()
        if name not in known
    ]
    if problems:
        raise UserError("\n".join(problems))
    return params


def imported_to(stream: str) -> Path:
    """Return where the features of a stream lie."""
    return FEATURES / f"{stream}.h5"
