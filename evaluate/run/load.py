"""Load a `Run` from the files of `train`: the models' predictions and the origin of their inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from evaluate import inference as predict
from evaluate.run.baselines import logistic
from evaluate.run.metrics import scores
from evaluate.run.results import Attention, Prediction, Run, Stream
from pipeline.env import device as pick_device
from pipeline.errors import UserError
from pipeline.features import STATUSES, FeatureCache
from pipeline.params import FEATURES, PARAMS, Params
from pipeline.tables.target import target_of
from train.checkpoint import read_model, read_weights
from train.data.corpus import Corpus
from train.fusion.build import read, restored, take
from train.fusion.hints import hints
from train.fusion.params import Fusion, fusion
from train.record import Record
from train.truth import majority, one_label

MODELS = Path("models")
LONGEST = 200  # turns; attention of longer dialogues is left out
CELLS = 250_000  # of the attention maps of all dialogues, per pair of modalities


def load_run(params: Params, models: Path = MODELS) -> Run:
    """Predict every utterance with every seed's model, with all modalities and with each of them hidden.

    Raises:
        UserError: a model is missing, damaged, or trained with different params.
    """
    data = read(params)
    predictions, oracle, history, best = [], [], {}, {}
    for seed, record, model in trained(params, data, models):
        folder = models / f"seed{seed}"
        predictions.append(_predict(model, data, record, seed == params.train.seed))
        history[seed] = _history(folder / "history.csv", record.best_epoch, f"val_{data.goal.main}")
        best[seed] = record.best_epoch
        if params.evaluate.oracle_test:
            oracle.append(_oracle(model, data, seed, folder))
    soft = params.corpus.target == "soft"
    return Run(
        params=params,
        utterances=data.utterances,
        truth=(majority(data.labels) if soft else data.labels).numpy(),
        shares=data.labels.numpy() if soft else None,
        splits=data.split,
        predictions=predictions,
        streams=[_stream(modality, name) for modality, name in params.train.streams.in_use().items()],
        history=history,
        best_epoch=best,
        dropped=data.dropped,
        hints=hints(data, params, {seed: frame.to_dict("records") for seed, frame in history.items()}),
        logistic=logistic(data),
        oracle=oracle,
    )


def trained(params: Params, data: Corpus, models: Path = MODELS) -> Iterator[tuple[int, Record, nn.Module]]:
    """Yield each seed with its model's record and network, on the CPU.

    Raises:
        UserError: a model is missing, damaged, or trained with different params.
    """
    chosen = fusion(params)
    for seed in range(params.train.seed, params.train.seed + params.train.seeds):
        folder = models / f"seed{seed}"
        weights, record = read_model(folder)
        _same_params(params, chosen, record, folder)
        if record.dims != data.dims:
            raise UserError(
                f"{folder}/model.json: trained on features of sizes {_sizes(record.dims)}, but the feature "
                f"files have {_sizes(data.dims)}; run `dvc repro train`"
            )
        yield seed, record, restored(folder, weights, chosen, data.dims, data.goal)


def _sizes(dims: Mapping[str, int]) -> str:
    return ", ".join(f"{modality} {size}" for modality, size in dims.items())


def _history(path: Path, best_epoch: int, main: str) -> pd.DataFrame:
    try:
        found = pd.read_csv(path)
        numbers = found.select_dtypes("number").columns
        if not {"epoch", main} <= set(numbers) or len(numbers) < len(found.columns):
            raise ValueError(f"a column is not numeric, or epoch or {main} is missing")
        if len(found) < best_epoch:
            raise ValueError(f"{len(found)} epochs, but epoch {best_epoch} was chosen")
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: missing or damaged ({error}); run `dvc repro --force train`") from None


def looked_at(turns: Sequence[int]) -> list[bool]:
    """Return which dialogues keep their attention maps, given their numbers of turns.

    The size of a map grows with the square of the length. Dialogues of more than LONGEST turns are left out, and those
    that would exceed CELLS in total.
    """
    kept, cells = [], 0
    for count in turns:
        kept.append(count <= LONGEST and cells + count**2 <= CELLS)
        cells += kept[-1] * count**2
    return kept


def _attention(model: nn.Module, data: Corpus, device: torch.device) -> Attention | None:
    units = data.units("test")
    # An empty dict means that the model has attention, but all maps are left out.
    kept = looked_at([len(data.utterances[data.rows(unit)]) for unit in units])
    maps = predict.attention(
        model, data, device, [unit for unit, keep in zip(units, kept, strict=True) if keep]
    )
    if maps is None:
        return {} if units and not any(kept) and hasattr(model, "attention") else None
    rest = {pair: iter(found) for pair, found in maps.items()}
    return {pair: [next(found) if keep else None for keep in kept] for pair, found in rest.items()}


def _predict(model: nn.Module, data: Corpus, record: Record, shown: bool) -> Prediction:
    device = pick_device()
    model.to(device)
    hidden = list(data.dims) if len(data.dims) > 1 else []
    heat = record.temperature
    return Prediction(
        seed=record.seed,
        probabilities=predict.probabilities(model, data, device, temperature=heat),
        without={
            m: predict.probabilities(model, data, device, partial(predict.hide, modality=m), heat)
            for m in hidden
        },
        temperature=heat,
        thresholds=record.thresholds,
        attention=_attention(model, data, device) if shown else None,
    )


def _oracle(model: nn.Module, data: Corpus, seed: int, folder: Path) -> Prediction:
    """Return predictions of the epoch with the best weighted F1 on test, as the published code chooses it."""
    device = pick_device()
    labels = one_label(data.labels, data.goal.kind, "evaluate.oracle_test compares labels").numpy()
    rows = np.flatnonzero((data.split == "test") & (labels >= 0))
    best: tuple[float, np.ndarray] = (-1.0, np.empty(0))
    epochs = [path for path in (folder / "epochs").glob("*.safetensors") if path.stem.isdecimal()]
    for path in sorted(epochs, key=lambda path: int(path.stem)):
        take(model, read_weights(path), path)
        answer = predict.probabilities(model, data, device)
        guess = answer[rows].argmax(axis=1)
        score = scores(labels[rows], guess, len(data.goal.names))["weighted_f1"] if len(rows) else 0.0
        if score > best[0]:
            best = (score, answer)
    if best[0] < 0:
        raise UserError(f"{folder}/epochs: no epochs found; train again with train.keep_epochs=true")
    return Prediction(seed=seed, probabilities=best[1])


def _stream(modality: str, name: str) -> Stream:
    with FeatureCache(FEATURES / f"{name}.h5") as cache:
        known = cache.meta.weights  # empty for imported features
        weights = "@".join(known[part] for part in ("name", "revision") if known.get(part))
        return Stream(name, modality, cache.meta.encoder, weights, [STATUSES[code] for code in cache.status])


def _same_params(params: Params, chosen: Fusion, record: Record, folder: Path) -> None:
    here = {"train": params.train.model_dump(mode="json"), **chosen.record()}
    there = record.params.model_dump(mode="json")
    for section, values in here.items():
        for name, value in values.items():
            trained = there[section].get(name)
            if trained != value:
                raise UserError(
                    f"{folder}/model.json: trained with {section}.{name}={trained!r}, but params.yaml has {value!r}; "
                    "run `dvc repro train`"
                )
    target = target_of(params.corpus)
    if record.target != target.kind:
        raise UserError(
            f"{folder}/model.json: trained for corpus.target={record.target}, but {PARAMS} has {target.kind}; "
            "run `dvc repro train`"
        )
    if record.labels != target.names:
        field = "values" if target.kind == "values" else "labels"
        raise UserError(
            f"{folder}/model.json: trained for the {field} {', '.join(record.labels)}, but corpus.{field} has "
            f"{', '.join(target.names)}; run `dvc repro train`"
        )
