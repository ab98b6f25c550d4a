"""A small learnable corpus of tables and caches, made in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.features import FeatureCache, Meta, Row, write
from pipeline.params import Params
from pipeline.strict import validate
from pipeline.tables.schema import LABEL_COLUMNS, UTTERANCE_COLUMNS, write_table

LABELS = ["joy", "anger", "neutral"]
DIMS = {"text": 12, "audio": 7, "visual": 5}
STREAM = {"text": "words", "audio": "voice", "visual": "look"}


def make(root: Path, dialogues: int = 20, seed: int = 0, missing: float = 0.1) -> None:
    """Write data/utterances.csv, data/labels.csv and three caches below `root`."""
    rng = np.random.default_rng(seed)
    turns = rng.integers(1, 7, dialogues)
    rows = [(d, t) for d in range(dialogues) for t in range(turns[d])]
    count = len(rows)
    names = [f"d{d:03}_u{t}" for d, t in rows]
    emotion = rng.integers(0, len(LABELS), count)
    part = ["test" if d % 5 == 4 else "val" if d % 5 == 3 else "train" for d, _ in rows]
    utterances = pd.DataFrame(
        {
            "utterance": names,
            "dialogue": [f"d{d:03}" for d, _ in rows],
            "turn": [t for _, t in rows],
            "speaker": [f"S{rng.integers(0, 3)}" for _ in rows],
            "session": [str(d % 4) for d, _ in rows],
            "text": [f"line {i}" for i in range(count)],
            "media": [f"{name}.mp4" for name in names],
            "start": None,
            "end": None,
            "media_hash": "0" * 64,
        }
    )
    write_table(utterances, UTTERANCE_COLUMNS, root / "data/utterances.csv")
    labels = pd.DataFrame({"utterance": names, "split": part, "emotion": [LABELS[e] for e in emotion]})
    write_table(labels, LABEL_COLUMNS, root / "data/labels.csv")
    (root / "data/features").mkdir(exist_ok=True)
    for modality, dim in DIMS.items():
        centres = rng.normal(size=(len(LABELS), dim)) * 2
        x = (centres[emotion] + rng.normal(size=(count, dim))).astype(np.float32) * 10 + 3
        here = rng.random(count) >= missing
        cache(root, modality, names, x, here)


def annotate(root: Path, kind: str) -> dict[str, Any]:
    """Write labels.csv for another target, and return the section `corpus` for it.

    Votes are three for the label and one for the next; several labels are the label, and joy beside anger; the values
    are the label's number and its negative.
    """
    path = root / "data/labels.csv"
    labels = pd.read_csv(path, keep_default_na=False)
    number = [LABELS.index(name) for name in labels["emotion"]]
    values = []
    if kind == "soft":
        labels["emotion"] = [f"{LABELS[i]}:3|{LABELS[(i + 1) % 3]}" for i in number]
    elif kind == "multi":
        labels["emotion"] = ["joy|anger" if name == "anger" else name for name in labels["emotion"]]
    elif kind == "values":
        labels["up"], labels["down"] = [float(i) for i in number], [-10.0 * i for i in number]
        values = ["up", "down"]
    write_table(labels, (*LABEL_COLUMNS, *values), path)
    return {"target": kind, "values": values}


def cache(
    root: Path,
    modality: str,
    names: list[str],
    x: np.ndarray,
    here: np.ndarray,
    frames: list[np.ndarray] | None = None,
    rate: float = 10.0,
) -> None:
    """Write one stream's cache; `here` [N] is False where the feature is missing; `frames` [T, D] of each row."""
    kind = "none" if frames is None else frames[0].dtype.str[1:]
    meta = Meta(
        stream=STREAM[modality], modality=modality, corpus="small", licence="none", encoder={"encoder": "text"},
        weights={"name": "", "revision": "", "sha256": ""}, weights_saw=None, packages={}, code="",
        fingerprint="0" * 64,
        pooled_dim=x.shape[1], frames_dim=0 if frames is None else frames[0].shape[1], frames=kind,
        pooled_names=(), frames_names=(),
    )  # fmt: skip

    def row(i: int) -> Row:
        if not here[i]:
            return Row(f"{i:064x}", "failed", "made so", None, None, None)
        if frames is None:
            return Row(f"{i:064x}", "ok", "", x[i], None, None)
        return Row(f"{i:064x}", "ok", "", x[i], frames[i], np.arange(len(frames[i])) / rate)

    write(root / f"data/features/{STREAM[modality]}.h5", meta, names, [row(i) for i in range(len(names))])


def add_frames(root: Path, longest: int = 9, dtype: str = "f4", seed: int = 1) -> None:
    """Give audio and visual frames that scatter around their pooled vectors, 10 a second."""
    rng = np.random.default_rng(seed)
    for modality in ("audio", "visual"):
        with FeatureCache(root / f"data/features/{STREAM[modality]}.h5") as there:
            names, x, here = there.utterances, there.pooled(), there.status == 0
        x = np.where(here[:, None], x, 0).astype(np.float32)
        frames = [
            (row + rng.normal(size=(rng.integers(1, longest + 1), len(row))) * 5).astype(dtype) for row in x
        ]
        cache(root, modality, names, x, here, frames)


def params(**sections: dict) -> Params:
    """Valid params for the small corpus; `train={"epochs": 3}` changes single values."""
    base: dict[str, Any] = {
        "corpus": {"name": "small", "watch": ".", "root": ".", "labels": LABELS},
        "extract": {name: {"encoder": "text", "frames": "f4"} for name in STREAM.values()},
        "train": {"streams": dict(STREAM), "epochs": 4, "batch_size": 5, "lr": 1e-3},
        "model": {
            "name": "multiemo",
            "dim": 16,
            "heads": 2,
            "ffn": 24,
            "layers": 2,
            "head": 12,
            "dropout": 0.0,
        },
        "loss": {},
        "evaluate": {},
    }
    for section, values in sections.items():
        base[section] = {**base[section], **values}
    return validate(Params, base, Path("params.yaml"))
