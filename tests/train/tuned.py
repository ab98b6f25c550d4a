"""A small corpus whose words (and sounds) tell the emotion, with params that fine-tune a tiny checkpoint on it.

    python -m tests.train.tuned tuned      # `python -m train.finetune tuned`

KILL_AFTER=k kills the process by SIGKILL once the state was written k times, which is then done after every step;
NO_DROPOUT=1 leaves the classifier's out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from pipeline.tables.schema import LABEL_COLUMNS, UTTERANCE_COLUMNS, write_table
from tests.extract.make_clips import sha256
from train.checkpoint import write_state

LABELS = ["joy", "anger", "neutral"]
SAID = {"joy": "so happy !", "anger": "you are late again", "neutral": "what now ?"}
# Only their pitch differs.
PITCH = {"joy": 900.0, "anger": 300.0, "neutral": 100.0}


def make(root: Path, weights: Path, encoder: str = "text", dialogues: int = 24, **settings: Any) -> None:
    """Write the tables and a params.yaml with the stream `tuned` below `root`; `training={…}` changes single knobs.

    Dialogues have four turns; sessions are 1, 2 and 3 in turn.
    """
    media = Path(os.environ.get("EMOFUSE_MEDIA", root))
    rng = np.random.default_rng(0)
    rows = [(d, t) for d in range(dialogues) for t in range(4)]
    emotion = [LABELS[i] for i in rng.integers(0, 3, len(rows))]
    part = ["test" if d % 4 == 3 else "val" if d % 4 == 2 else "train" for d, _ in rows]
    names = [f"d{d:02}_u{t}" for d, t in rows]
    utterances = pd.DataFrame(
        {
            "utterance": names,
            "dialogue": [f"d{d:02}" for d, _ in rows],
            "turn": [t for _, t in rows],
            "speaker": [("Ann", "Bob")[t % 2] for _, t in rows],
            "session": [str(1 + d % 3) for d, _ in rows],
            "text": [f"{SAID[e]} {'i am ' * int(rng.integers(0, 4))}" for e in emotion],
            "media": [f"{name}.wav" for name in names],
            "start": None,
            "end": None,
            "media_hash": [sha256(media / f"{name}.wav") for name in names],
        }
    )
    labels = pd.DataFrame({"utterance": names, "split": part, "emotion": emotion})
    write_table(utterances, UTTERANCE_COLUMNS, root / "data/utterances.csv")
    write_table(labels, LABEL_COLUMNS, root / "data/labels.csv")
    training = {"epochs": 6, "batch_size": 8, "lr": 3e-3, **settings.pop("training", {})}
    context = {"context": {"past": 1, "tokens": 32}} if encoder == "text" else {}
    entry = {"encoder": encoder, "weights": str(weights), **context, **settings, "training": training}
    streams = {"text": "none", "audio": "none", "visual": "none"}
    sections = {
        "corpus": {"name": "csv", "watch": ".", "root": "media", "labels": LABELS},
        "extract": {},
        "finetune": {"tuned": entry},
        "train": {
            "streams": {**streams, "text" if encoder == "text" else "audio": "tuned"},
            "epochs": 2,
            "batch_size": 8,
        },
        "model": {"name": "multiemo", "dim": 8, "heads": 2, "ffn": 8, "layers": 1, "head": 8},
        "loss": {},
        "evaluate": {"bootstrap": 10},
    }
    (root / "params.yaml").write_text(json.dumps(sections))


def change(root: Path, section: str, **values: Any) -> None:
    """Set values in a section of params.yaml; `finetune` means the stream's `training`."""
    params = json.loads((root / "params.yaml").read_text())
    target = params["finetune"]["tuned"]["training"] if section == "finetune" else params[section]
    target.update(values)
    (root / "params.yaml").write_text(json.dumps(params))


def finetune(monkeypatch: Any, name: str = "tuned") -> None:
    """The stage, in this process and folder."""
    from train.finetune import __main__ as stage

    monkeypatch.setattr(sys, "argv", ["train.finetune", name])
    stage.main()


def record() -> dict[str, Any]:
    return json.loads(Path("weights/tuned/finetune.json").read_text())


def contents(folder: Path = Path("weights/tuned")) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _kill_after(k: int) -> None:
    from train.finetune import loop as encoder_loop

    count = 0

    def write_and_die(path: Path, state: dict[str, Any]) -> None:
        nonlocal count
        write_state(path, state)
        count += 1
        if count == k:
            os.kill(os.getpid(), signal.SIGKILL)

    mock.patch.object(encoder_loop, "write_state", write_and_die).start()
    encoder_loop.SAVE_RATIO = 0.0


if __name__ == "__main__":
    from pipeline.errors import entry
    from train.finetune import __main__ as stage
    from train.finetune import loop as encoder_loop

    if "KILL_AFTER" in os.environ:
        _kill_after(int(os.environ["KILL_AFTER"]))
    if "NO_DROPOUT" in os.environ:
        encoder_loop.DROPOUT = 0.0
    entry(stage.main)
