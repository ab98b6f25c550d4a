"""The `train` stage: train `train.seeds` models, write them to models/seedN and their curves to results/live."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from dvclive.live import Live

from pipeline.disk import replacing_folder, write_text
from pipeline.env import device as pick_device
from pipeline.inputs import Inputs
from pipeline.locks import alone
from pipeline.params import FEATURES, Params, load
from pipeline.strict import validate
from pipeline.tables.schema import LABELS, UTTERANCES
from train import distance
from train.calibration import Calibration
from train.checkpoint import model_code, state_folder, write_model
from train.data.admit import check_params
from train.data.corpus import Corpus
from train.fusion.build import read, restored
from train.fusion.hints import hints
from train.fusion.loop import answers, fit, labelled
from train.fusion.params import Fusion, fusion, unread
from train.record import Record, StreamRecord, stream_record
from train.selection import Trained

MODELS = Path("models")
LIVE = Path("results/live")


def run() -> None:
    """Train the models of params.yaml; an interrupted run resumes from its last saved epoch.

    Raises:
        UserError: params or tables are wrong, features do not fit them, a loss is not finite, or the disk is full.
    """
    with alone("train"):
        caches = [FEATURES / f"{name}.h5" for name in load().train.streams.in_use().values()]
        inputs = Inputs(
            ["corpus.labels", "corpus.target", "corpus.values", "loss", "model", "train"],
            [UTTERANCES, LABELS, *caches],
        )
        _run(load(), caches)
        inputs.check([MODELS, LIVE])


def _run(params: Params, caches: list[Path]) -> None:
    chosen = fusion(params)
    if note := unread(params):
        print(f"train: {note}")
    data = read(params)
    for modality, stream in data.streams.items():
        check_params(getattr(params.train.streams, modality), stream.meta, params)
    for modality, why in data.dropped.items():
        print(f"train: without {modality}: {why}")
    device = pick_device()
    settings = [params.train.model_dump_json(), json.dumps(chosen.record())]
    states = state_folder(
        "train.__main__",
        [*settings, params.corpus.target, *data.goal.names],
        [UTTERANCES, LABELS, *caches],
        device,
    )
    for meta in (stream.meta for stream in data.streams.values()):
        # Fail now instead of after hours of training.
        validate(StreamRecord, stream_record(meta), FEATURES / f"{meta.stream}.h5")
    regions = distance.fit(data)
    rows = {}
    for seed in range(params.train.seed, params.train.seed + params.train.seeds):
        folder = MODELS / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        epochs = states / f"seed{seed}.epochs" if params.train.keep_epochs else None
        done = _follow(
            fit(data, params, seed, device, states / f"seed{seed}.pt", epochs), LIVE / f"seed{seed}"
        )
        shutil.rmtree(folder / "epochs", ignore_errors=True)  # left by an earlier run
        if epochs is not None:
            # Copied and not moved: if the run is killed after this, DVC deletes models/ before the run resumes.
            with replacing_folder(folder / "epochs") as copies:
                shutil.copytree(epochs, copies, dirs_exist_ok=True)
        network = restored(folder, done.weights, chosen, data.dims, data.goal).to(device)
        calibration = data.goal.calibrated(*answers(network, data, labelled(data, "val"), device))
        outside = {
            "far": {modality: region.limit for modality, region in regions.items()},
            "distance": distance.write(folder, regions),
        }
        write_model(folder, done.weights, _record(params, chosen, data, seed, done, calibration, outside))
        history = pd.DataFrame(done.history)
        write_text(folder / "history.csv", history.to_csv(index=False, lineterminator="\n"))
        print(
            f"train: seed {seed}: epoch {done.best_epoch} of {len(done.history)} chosen on val, "
            f"{data.goal.title} {done.best[f'val_{data.goal.main}']:.4f}"
        )
        rows[seed] = done.history
    for hint in hints(data, params, rows):
        print(f"train: hint: {hint}")
    ours = {f"seed{seed}" for seed in range(params.train.seed, params.train.seed + params.train.seeds)}
    for folder in MODELS.glob("seed*"):
        if folder.name not in ours:  # left by a run of other params whose `dvc` process was killed
            shutil.rmtree(folder)
    shutil.rmtree(states, ignore_errors=True)


def _follow(epochs: Iterator[Trained], folder: Path) -> Trained:
    """Run all epochs and log each; a resumed run logs its earlier epochs again."""
    logged, done = 0, None
    with Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False) as live:
        for done in epochs:
            for row in done.history[logged:]:
                for name, value in row.items():
                    if name != "epoch":
                        live.log_metric(name, value, timestamp=False)
                live.next_step()
            logged = len(done.history)
    assert done is not None
    return done


def _record(
    params: Params,
    chosen: Fusion,
    data: Corpus,
    seed: int,
    done: Trained,
    calibration: Calibration,
    outside: dict[str, Any],
) -> Record:
    fields = {
        "seed": seed,
        "params": {"train": params.train.model_dump(mode="json"), **chosen.record()},
        **data.goal.record(),
        "dims": data.dims,
        "statistics": {m: {"mean": s.mean.tolist(), "sd": s.sd.tolist()} for m, s in data.statistics.items()},
        "streams": {m: stream_record(stream.meta) for m, stream in data.streams.items()},
        "dropped": data.dropped,
        "best_epoch": done.best_epoch,
        "temperature": calibration.temperature,
        "thresholds": calibration.thresholds,
        **outside,
        "packages": {"torch": torch.__version__},
        "code": model_code(chosen.model.name),
    }
    return validate(Record, fields, MODELS / f"seed{seed}/model.json")
