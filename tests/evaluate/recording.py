"""Trained models and recordings for the tests of `predict`."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluate.predict import __main__ as predict
from extract import encoders
from pipeline.strict import validate
from tests.train.goals import single
from tests.train.models_on_disk import seal
from train import distance
from train.checkpoint import model_code, write_model
from train.distance import Region
from train.fusion.build import build
from train.fusion.params import declared, recorded
from train.record import Record, Settings

LABELS = ["joy", "anger", "text"]  # a label may bear a column's name
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("words", {"encoder": "text", "context": {"past": 1, "future": 0, "tokens": 32}}),
    "audio": ("voice", {"encoder": "opensmile"}),
    "visual": ("look", {"encoder": "face", "count": 1}),
}
FARTHEST = 1e9
SRT = """1
00:00:00,100 --> 00:00:00,900
Anna: Good <i>morning</i>!

2
00:00:01,000 --> 00:00:01,800
Morning, "Anna" <3 &amp; so on.
"""


def make_model(
    folder: Path, modalities=("audio",), seed: int = 0, name: str = "multiemo", **train: Any
) -> Path:
    """models/seedN as `train` leaves it, with random weights."""
    model = declared(name)
    frames = model.reads == "frames"
    kind = {"frames": "f4"} if frames else {}
    built = {
        m: encoders.build(STREAMS[m][0], {**STREAMS[m][1], **kind}, Path("params.yaml"), Path())
        for m in modalities
    }
    dims = {m: encoder.frames_dim if frames else encoder.pooled_dim for m, encoder in built.items()}
    sizes = {"dim": 8, "heads": 2, "ffn": 8, "layers": 1, "head": 8}
    own = {key: size for key, size in sizes.items() if key in model.params.model_fields}
    none = dict.fromkeys(("text", "audio", "visual"), "none")
    train = {"streams": none, "normalise": "global", **train}
    chosen = recorded(
        validate(Settings, {"train": train, "model": {"name": name, **own}, "loss": {}}, folder), folder
    )
    params = {"train": train, **chosen.record()}
    torch.manual_seed(seed)
    network, _ = build(chosen, dims, single([3, 2, 1]))
    streams = {}
    for m, encoder in built.items():
        made = encoder.provenance()
        streams[m] = {"stream": STREAMS[m][0], "corpus": "made", "fingerprint": encoder.fingerprint(), **made}
    folder.mkdir(parents=True)
    write_model(
        folder,
        network.state_dict(),
        validate(Record, {
            "seed": seed, "params": params, "labels": LABELS, "class_counts": [3, 2, 1], "dims": dims,
            "statistics": {m: {"mean": [0.5] * n, "sd": [2.0] * n} for m, n in dims.items()},
            "streams": streams, "dropped": {}, "best_epoch": 1,
            "distance": distance.write(folder, {m: around_zero(n, FARTHEST) for m, n in dims.items()}),
            "far": dict.fromkeys(dims, FARTHEST), "packages": {"torch": torch.__version__},
            "code": model_code("multiemo"),
        }, folder),
    )  # fmt: skip
    return folder


def run(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    predict.main()


def video(monkeypatch, *words: str) -> None:
    run(monkeypatch, "talk.mp4", "--subtitles", "talk.srt", "--to", "out", *words)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        header, *values = csv.reader(file)
    assert header == ["utterance", "start", "end", "speaker", "text", "missing", "far", "emotion", *LABELS]
    # `text` occurs twice, once as a label.
    return [dict(zip([*header[:8], *(f"p_{n}" for n in LABELS)], row, strict=True)) for row in values]


def around_zero(size: int, limit: float) -> Region:
    """Return a region without components: what is farther from 0 than `limit` is far."""
    return Region(np.zeros(size, np.float32), np.zeros((0, size), np.float32), limit)


def region(folder: Path, limit: float) -> None:
    """Give a model of sound the region around 0 with this limit."""
    size = json.loads((folder / "model.json").read_text())["dims"]["audio"]
    written = distance.write(folder, {"audio": around_zero(size, limit)})
    edit(folder, lambda said: said.update(far={"audio": limit}, distance=written))


def edit(folder: Path, change) -> None:
    said = json.loads((folder / "model.json").read_text())
    change(said)
    seal(folder, said)
