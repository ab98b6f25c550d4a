"""The entries of published feature pickles."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpora.pickles import unpickle
from pipeline.errors import UserError

ROOT = Path(__file__).parents[2]
TURNS = {"Ses05F_impro02": 2, "Ses01M_impro01": 3, "Ses02F_script01_1": 1, "Ses03M_impro01": 2}
TRAIN = ["Ses01M_impro01", "Ses02F_script01_1", "Ses03M_impro01"]


def vectors(size: int, turns=TURNS, kind=np.float32) -> dict:
    draw = np.random.default_rng(size)
    return {d: [draw.normal(size=size).astype(kind) for _ in range(n)] for d, n in turns.items()}


def dialogue_rnn(turns=TURNS, train=TRAIN, speaker="MF", classes=6) -> dict:
    """The entries of DialogueRNN's IEMOCAP tuple, in order."""
    return {
        "ids": {d: [f"{d}_{speaker[i % 2]}{i:03}" for i in range(n)] for d, n in turns.items()},
        "speakers": {d: [speaker[i % 2] for i in range(n)] for d, n in turns.items()},
        "labels": {d: [(i + len(d)) % classes for i in range(n)] for d, n in turns.items()},
        "text": vectors(4, turns),
        "audio": vectors(3, turns, np.float64),
        "visual": vectors(5, turns),
        "sentences": {d: ["It\x92s me."] * n for d, n in turns.items()},
        "train": set(train),
        "test": [d for d in turns if d not in train],
    }


def save(path: Path, value: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def as_python_2(data: bytes) -> bytes:
    """A protocol 0 pickle as Python 2 and an old numpy wrote it: native strings, old module names."""
    assert b"numpy._core" in data
    return data.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray").replace(
        b"c__builtin__", b"c__builtin__"
    )


def message(data: bytes, tmp_path: Path) -> str:
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        unpickle.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)
