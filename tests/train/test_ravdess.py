"""Real features of 1,440 acted clips, made elsewhere and imported; skipped unless EMOFUSE_DATA names their folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import ravdess
from pipeline.params import Params
from pipeline.strict import validate
from train.fusion.build import read

FILE = Path(os.environ.get("EMOFUSE_DATA", "")) / "ravdess_au_mfcc/ravdess_au35_mfcc259.npz"
pytestmark = pytest.mark.skipif(
    "EMOFUSE_DATA" not in os.environ or not FILE.exists(), reason=f"no {FILE.name} in EMOFUSE_DATA"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    to = tmp_path_factory.mktemp("ravdess")
    ravdess.prepare(FILE.resolve(), to)
    return to


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def load(model: str, fold: int):
    return read(validate(Params, ravdess.settings(model, fold), Path("params.yaml")))


def test_each_clip_is_a_dialogue_of_one_turn_and_a_session_four_actors():
    data = load("multiemo", 3)
    assert len(data.utterances) == len(data.turns) == 1440
    assert data.dims == {"audio": 259, "visual": 35}
    for session in range(1, 7):
        actors = {u.speaker for u in data.utterances if u.session == str(session)}
        assert actors == {f"actor {a}" for a in range(4 * session - 3, 4 * session + 1)}
    assert {u.session for u, s in zip(data.utterances, data.split, strict=True) if s == "test"} == {"3"}


def test_frames_and_pooled_are_the_same_numbers():
    frames, pooled = load("foalnet", 1), load("multiemo", 1)
    assert frames.dims == pooled.dims
    for modality, stream in frames.frames.items():
        assert (stream.kept == 1).all()
        x = np.concatenate([stream[i] for i in frames.units()])
        np.testing.assert_allclose(x, pooled.features[modality].numpy(), atol=1e-5)


def test_logistic_regression_is_what_others_found():
    """Accuracy .62 by actor over all folds; one fold of 240 clips scatters by a tenth."""

    def right(normalise: str) -> float:
        found, _ = ravdess.fold_answers("logreg", 1, 1, normalise)
        assert len(found) == 240
        return float((found["seed0"] == found["emotion"]).mean())

    assert 0.5 < right("global") < 0.75
    assert right("speaker") > right("global") + 0.05


def test_val_can_have_actors_of_its_own():
    data = read(validate(Params, ravdess.settings("multiemo", 3, val="speaker"), Path("params.yaml")))
    actors = {
        split: {u.speaker for u, s in zip(data.utterances, data.split, strict=True) if s == split}
        for split in ("train", "val", "test")
    }
    assert [len(actors[split]) for split in actors] == [18, 2, 4]
    assert actors["train"] & actors["val"] == set()


def test_the_table_has_a_row_for_each_setup_and_for_its_ensemble(monkeypatch):
    def answers(model, fold, seeds, normalise, val):
        rng = np.random.default_rng([fold, len(model), len(val)])
        names = np.array(ravdess.EMOTIONS)
        truth = np.arange(40) % 8
        guess = [np.where(rng.random(40) < 0.6, truth, rng.integers(8, size=40)) for _ in range(seeds)]
        clips = [f"{fold}-{i}" for i in range(40)]
        frame = {"utterance": clips, "split": "test", "dialogue": clips, "emotion": names[truth]}
        frame |= {"predicted": names[guess[-1]]} | {f"seed{i}": names[one] for i, one in enumerate(guess)}
        return pd.DataFrame(frame), 0.5

    monkeypatch.setattr(ravdess, "fold_answers", answers)
    table = ravdess.table(["logreg", "foalnet"], 2, list(ravdess.SETUPS))
    assert table["model"].tolist() == [
        "logistic regression", "Foal-Net", "Foal-Net, ensemble of 2 seeds"
    ] * 3  # fmt: skip
    assert (table["p"] == "").tolist() == [True, False, False, False, False, False, True, False, False]
    assert table["val F1"].tolist() == ["50.0 ± 0.0", "50.0 ± 0.0", ""] * 3
