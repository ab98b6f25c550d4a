"""A made-up run with the shape of a real one: no training, no media, the same numbers every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from evaluate.run.load import looked_at
from evaluate.run.results import Prediction, Run, Stream
from pipeline.params import Params
from pipeline.tables.schema import Utterance
from tests.evaluate.recording import SRT, make_model
from tests.extract.make_clips import clip
from tests.extract.project import inline

EMOTIONS = ["happiness", "sadness", "neutral", "anger", "excitement", "frustration"]
MODALITIES = ("text", "audio", "visual")
LINES = (
    "The letter came this morning and I still cannot believe what it says.",
    "You promised you would be there.",
    "I waited for an hour, and then I simply walked home in the rain.",
    "We got the house!",
    "It is on the table, next to the keys.",
    "Nobody ever asks me before they decide.",
    "Tell me again, slowly, from the start, because I think I missed the part where you explain why the car is "
    "in the garden and the garden is in the street.",
    "Fine.",
)


def fake_params(
    modalities: Sequence[str] = MODALITIES, emotions: Sequence[str] = EMOTIONS, **train
) -> Params:
    names = {"text": "text", "audio": "opensmile", "visual": "face"}
    return Params.model_validate(
        {
            "corpus": {"name": "demo", "watch": "data/demo", "root": "data/demo", "labels": list(emotions)},
            "extract": {name: {"encoder": name} for name in names.values()},
            "train": {"streams": {m: names[m] if m in modalities else "none" for m in names}, **train},
            "model": {"name": "multiemo"},
            "loss": {"mu1": 0.4},
            "evaluate": {"bootstrap": 200},
        }
    )


def fake_run(
    seeds: int = 1,
    modalities: Sequence[str] = MODALITIES,
    emotions: Sequence[str] = EMOTIONS,
    parts: Sequence[str] = ("train",) * 6 + ("val",) * 2 + ("test",) * 4,
    unlabelled: float = 0.1,
    speakers: Sequence[str] = ("Ada", "Ben"),
    lines: Sequence[str] = LINES,
    skill: float = 2.5,
    turns: int | None = None,
    **train: object,
) -> Run:
    rng = np.random.default_rng(7)
    utterances, split = [], []
    for d, part in enumerate(parts):
        for t in range(turns or int(rng.integers(4, 10))):
            text = lines[int(rng.integers(len(lines)))]
            who = speakers[t % len(speakers)]
            name = f"d{d:02d}_{t}"
            utterances.append(Utterance(name, f"d{d:02d}", t, who, "", text, f"{name}.mp4", None, None, ""))
            split.append(part)
    count, classes = len(utterances), len(emotions)
    truth = rng.integers(classes, size=count)
    unknown = rng.random(count) < unlabelled
    pairs = [(q, k) for q in modalities for k in modalities if q != k]
    lengths = [sum(u.dialogue == f"d{d:02d}" for u in utterances) for d, p in enumerate(parts) if p == "test"]
    kept = looked_at(lengths)

    def maps() -> list[np.ndarray | None]:
        return [
            rng.dirichlet(np.ones(n) / 3, size=n) if k else None for n, k in zip(lengths, kept, strict=True)
        ]

    predictions = [
        Prediction(
            seed=seed,
            probabilities=softmax(rng, truth, classes, skill),
            without={m: softmax(rng, truth, classes, skill / 2) for m in modalities} if pairs else {},
            attention={pair: maps() for pair in pairs} or None,
        )
        for seed in range(seeds)
    ]
    codes = np.array(["ok", "ok", "ok", "ok", "no_face", "missing_file"])
    params = fake_params(modalities, emotions, **train)
    return Run(
        params=params,
        utterances=utterances,
        truth=np.where(unknown, -1, truth),
        splits=np.array(split),
        predictions=predictions,
        streams=[
            Stream(
                name,
                m,
                {"encoder": name, "frames": "none"},
                f"{name}-weights",
                rng.choice(codes, count).tolist(),
            )
            for m, name in params.train.streams.in_use().items()
        ],
        history={seed: fake_history(rng, 20 + seed) for seed in range(seeds)},
        best_epoch={seed: 12 + seed for seed in range(seeds)},
    )


def softmax(rng: np.random.Generator, truth: np.ndarray, classes: int, skill: float) -> np.ndarray:
    logits = rng.normal(size=(len(truth), classes)) + skill * np.eye(classes)[truth]
    p = np.exp(logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def fake_history(rng: np.random.Generator, epochs: int) -> pd.DataFrame:
    t = np.arange(1, epochs + 1)
    fall = np.exp(-t / 8)
    noise = rng.normal(scale=0.02, size=epochs)
    return pd.DataFrame(
        {
            "epoch": t,
            "lr": 1e-4,
            "train_loss": 1.2 * fall + 0.4,
            "train_swfc": 1.6 * fall + 0.6,
            "train_hgr": -0.5 + 0.4 * fall,
            "train_ce": 1.5 * fall + 0.2,
            "val_ce": 1.3 * fall + 0.7 + noise,
            "val_weighted_f1": 0.65 - 0.4 * fall + noise,
            "val_macro_f1": 0.6 - 0.4 * fall + noise,
            "val_accuracy": 0.66 - 0.4 * fall + noise,
        }
    )


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    return fake_run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project's folder, and extraction without processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    return tmp_path


@pytest.fixture
def talk(here):
    make_model(here / "models/seed0")
    clip(here / "talk.mp4", 2.0)
    (here / "talk.srt").write_text(SRT)
    return here
