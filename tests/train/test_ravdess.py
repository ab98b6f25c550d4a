"""Real features of 1,440 acted clips, made elsewhere and imported; skipped unless EMOFUSE_DATA names their folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
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
    wa, ua, _ = ravdess.fold_scores("logreg", 1, 1, "global")
    assert 0.5 < wa < 0.75
    assert 0.5 < ua < 0.75
    assert ravdess.fold_scores("logreg", 1, 1, "speaker")[0] > wa + 0.05
