"""Typed models of params.yaml: every param of every stage, with its default and bounds.

    python -m evaluate.check      # the `check` stage: validates params.yaml, including encoders' and models' params

An unknown key is an error that names the nearest known key. Encoders and fusion models define their own params beside
their code (extract/encoders, train/models).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pipeline.errors import UserError
from pipeline.messages import listed, nearest
from pipeline.names import Column, FileName, Label, StreamName, StreamOrNone, names_mistake
from pipeline.settings import read_yaml
from pipeline.strict import Strict, validate

PARAMS = Path("params.yaml")
FEATURES = Path("data/features")
# The commands that make a file without a stage available to queued experiments, `dvc push` and `dvc pull`.
TRACK = "`dvc add {file} && git add {file}.dvc`"
MODALITIES = ("text", "audio", "visual")
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Val = Literal["any", "speaker"]
# Far above any useful size: a typo is reported here instead of exhausting the memory.
Size = Annotated[int, Field(ge=1, le=1 << 16)]
TargetKind = Literal["single", "soft", "multi", "values"]


class CorpusParams(Strict):
    """`corpus`: the recordings and their labels.

    Attributes:
        name: the importer, a key of `pipeline.corpora.REGISTRY`.
        build: corpora that a stage generates.
        watch: the file or folder whose change re-runs `prepare`.
        root: the corpus's folder on this machine; EMOFUSE_MEDIA overrides it for media.
        labels: the emotions, in the order of the model's outputs; at least two, unless `target` is `values`.
        target: what a model learns: `single` label, `soft` labels (votes), `multi` for several labels, or `values`.
        values: the columns of numbers in labels.csv, in the order of the model's outputs if `target` is `values`.
        title: the corpus's name on the report; empty: `name`.
        licence: the terms of use, stored in feature caches.
        keep_tags: whether transcribers' tags such as [LAUGHTER] stay in the text.
        split_seed: of the random split of a csv file that names none.
        transcribe: how the corpus `recordings` becomes utterances (pipeline/transcribe/params.py).
    """

    name: FileName
    build: list[Literal["demo"]] = Field(default_factory=list)
    watch: str
    root: str
    labels: list[Label]
    # These defaults only serve commands outside DVC: stages depend on the keys, so DVC requires them in the file.
    target: TargetKind = "single"
    values: list[Column] = Field(default_factory=list)
    title: str = ""
    licence: str = ""
    keep_tags: bool = False
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    transcribe: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_fit(self) -> CorpusParams:
        if why := names_mistake(self.target, self.labels, self.values):
            raise ValueError(why)
        return self


# Params of a stream that do not affect its features.
INERT = frozenset({"max_failed", "timeout"})


class StreamParams(Strict):
    """The params of every stream; an encoder's params extend them.

    Attributes:
        encoder: the encoder's name.
        frames: the type of the stored frames; `none` stores none.
        max_failed: the largest allowed share of utterances without features; 1 allows all.
        timeout: seconds that one utterance may take. Time in which the process is stopped or the machine sleeps does
            not count.
    """

    encoder: str
    frames: Literal["none", "f2", "f4"] = "none"
    max_failed: Share = 0.5
    timeout: Positive = 600.0


class FinetuneParams(Strict):
    """`finetune.NAME.training`: how to fine-tune a stream's weights on the train split.

    Attributes:
        fold: the session held out as test, or `none` for the corpus's own split; must equal `train.fold`.
        val: as `train.val`, which it must equal.
        seed: of the order of batches, dropout, the parts of `crossfit` and, with a fold or `val: speaker`, the choice
            of val.
        epochs: passes over the train split.
        batch_size: utterances per step, over all processes.
        lr: the peak learning rate, reached after the share `warmup` of all steps; then it decays linearly to 0.
        warmup: the share of all steps in which the learning rate rises.
        weight_decay: of the optimiser.
        layer_decay: the factor of the learning rate from one layer to the layer below; 1 for one rate for all.
        clip: the largest norm of the gradient.
        precision: of the computation; weights are stored in float32.
        threads: CPU threads; another number changes the last digits.
        crossfit: the number of parts of the train dialogues. The features of a part come from an encoder that is
            fine-tuned on the other parts. 0 or 1: off.
    """

    fold: str | int = "none"
    val: Val = "any"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    epochs: Count = 3
    batch_size: Count = 32
    lr: Positive = 5e-5
    warmup: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip: Positive = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Count = 1
    crossfit: Annotated[int, Field(ge=0)] = 0


class StreamNames(Strict):
    """`train.streams`: the stream of each modality.

    Attributes:
        text, audio, visual: the modality's stream; `none` drops the modality.
    """

    text: StreamOrNone
    audio: StreamOrNone
    visual: StreamOrNone

    def in_use(self) -> dict[str, str]:
        """Return {modality: stream name} without the modalities set to `none`."""
        return {m: getattr(self, m) for m in MODALITIES if getattr(self, m) != "none"}


class Plateau(Strict):
    """`train.plateau`: when to reduce the learning rate.

    Attributes:
        factor: multiplies the learning rate when val's loss stops improving.
        patience: epochs without improvement before that.
        threshold: the smallest improvement, as a share of the best value.
    """

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.95
    patience: Annotated[int, Field(ge=0)] = 10
    threshold: Annotated[float, Field(ge=0)] = 1e-6


class TrainParams(Strict):
    """`train`: data, optimisation and selection, whatever the model.

    Attributes:
        streams: the stream of each modality.
        normalise: `global`: by the train split's mean and sd; `speaker`: by each speaker's own, shrunk to the global.
        fold: the session held out as test, or `none` for the corpus's own split.
        val: `any`: the corpus's val split, or with a fold a random tenth of the other dialogues; `speaker`: about a
            tenth of the dialogues outside test, drawn so that no speaker is in both train and val.
        seed: the first seed; it also draws val.
        seeds: the number of models, trained with consecutive seeds.
        epochs: the largest number of epochs.
        regression: the loss of `corpus.target: values`: 1 - CCC, or the mean squared error.
        patience: epochs without a better score on val before training stops, counted only after an epoch has beaten
            the best constant answer on val. The score is weighted F1, macro F1 for `multi` and CCC for `values`.
        batch_size: dialogues per step; utterances for models of single utterances.
        optimiser: Adam, with L2 regularisation or with decoupled weight decay.
        lr: the initial learning rate.
        weight_decay: of the optimiser.
        plateau: when to reduce the learning rate.
        ema_epochs: epochs over which the evaluated weights are averaged; 0: no average.
        modality_dropout: the probability with which each modality of a train utterance is set missing, drawn anew in
            each epoch. An utterance never loses all modalities. 0: off.
        precision: of the computation.
        threads: CPU threads; another number changes the last digits.
        keep_epochs: whether to keep every epoch's weights, for `evaluate.oracle_test`.
        frames: the type in which frames are held in memory.
        audio_seconds: the length to which audio frames are cut.
        visual_frames: the number to which visual frames are cut.
    """

    streams: StreamNames
    normalise: Literal["global", "speaker"] = "global"
    fold: str | int = "none"
    val: Val = "any"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seeds: Count = 1
    epochs: Count = 50
    regression: Literal["ccc", "mse"] = "ccc"
    patience: Count = 15
    batch_size: Count = 16
    optimiser: Literal["adam", "adamw"] = "adam"
    lr: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    plateau: Plateau = Plateau()
    ema_epochs: Annotated[float, Field(ge=0)] = 1.5
    modality_dropout: Share = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Count = 1
    keep_epochs: bool = False
    frames: Literal["f2", "f4"] = "f2"
    audio_seconds: Positive = 6.0
    visual_frames: Count = 180


class ModelSection(Strict):
    """`model`: the fusion model's name and its own params, which train/fusion/params.py validates."""

    model_config = ConfigDict(extra="allow")
    name: str


class EvaluateParams(Strict):
    """`evaluate`: the metrics.

    Attributes:
        bootstrap: the number of bootstrap samples for the confidence intervals.
        oracle_test: whether to also report the epoch that is best on test, as the published code does.
    """

    bootstrap: Count = 1000
    oracle_test: bool = False


class Params(Strict):
    """All sections of params.yaml; `extract`, `finetune` and `loss` are validated by the code that reads them."""

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
            raise ValueError("evaluate.oracle_test=true: also set train.keep_epochs=true, which it requires")
        if self.evaluate.oracle_test and self.corpus.target in ("multi", "values"):
            raise ValueError(
                f"evaluate.oracle_test=true: compares with papers that predict one label, but "
                f"corpus.target={self.corpus.target}; set it to false"
            )
        return self


def sections(path: Path = PARAMS) -> Params:
    """Read and validate a params file without checking that its streams exist.

    `prepare` needs this, because features can be imported only after the tables exist.

    Raises:
        UserError: if the YAML is unreadable, a key is unknown or a value is out of bounds; one message lists all.
    """
    return validate(Params, read_yaml(path), path)


def load(path: Path = PARAMS) -> Params:
    """Read and validate a params file, and check that a stage makes every stream in use or that it was imported.

    Raises:
        UserError: see `sections`; also if a stream in use is unknown.
    """
    params = sections(path)
    used = params.train.streams.in_use()
    if not used:
        raise UserError(f"{path}: train.streams: every modality is `none`; set a stream for at least one")
    # A queued experiment runs in its own folder, which may contain only the .dvc file of an imported stream.
    imported = {file.name.split(".h5")[0] for kind in ("*.h5", "*.h5.dvc") for file in FEATURES.glob(kind)}
    known = sorted({*params.extract, *params.finetune} | imported - {"none"})
    problems = [
        f"{path}: train.streams.{modality}={name!r}: unknown stream{nearest(name, known)}; "
        f"known: {listed(known) or 'no stream'}; `none` drops the modality. To use features from another tool, "
        f"run `dvc repro prepare`, `python -m pipeline.features import … --stream {name}`, and "
        f"{TRACK.format(file=imported_to(name))} for queued experiments"
        for modality, name in used.items()
        if name not in known
    ]
    if problems:
        raise UserError("\n".join(problems))
    return params


def imported_to(stream: str) -> Path:
    """Return the path of a stream's features."""
    return FEATURES / f"{stream}.h5"
