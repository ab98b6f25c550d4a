"""The training loop: selection on val, resume, determinism, and the test split left alone."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from tests.train import small
from train import loop
from train.batches import load
from train.checkpoint import read_state
from train.loop import fit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    small.make(tmp_path)


def last(runs):
    *_, done = runs
    return done


def hashed(done) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(done.weights.items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def test_it_learns_and_keeps_the_best_epoch(tmp_path):
    params = small.params(train={"epochs": 20, "lr": 1e-2}, loss={"mu2": 0.1})
    data = load(params)
    done = last(fit(data, params, 0, CPU, tmp_path / "state"))
    scores = [row["val_weighted_f1"] for row in done.history]
    assert max(scores) > 0.8
    assert done.best_epoch == 1 + int(np.argmax(scores))
    model, _ = loop.build(params.model, params.loss, data.dims, data.class_counts())
    model.load_state_dict(done.weights)
    again = loop.score(model, data, data.units("val"), CPU)
    assert again["val_weighted_f1"] == pytest.approx(max(scores), abs=1e-9)


def test_patience_ends_the_run(tmp_path):
    params = small.params(train={"epochs": 100, "patience": 2, "lr": 1e-9})
    done = last(fit(load(params), params, 0, CPU, tmp_path / "state"))
    assert len(done.history) == done.best_epoch + 2


def test_same_seed_same_bytes_and_another_seed_others(tmp_path):
    params = small.params()
    data = load(params)
    runs = [hashed(last(fit(data, params, seed, CPU, tmp_path / str(i)))) for i, seed in enumerate((3, 3, 4))]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, stop, dropout):
    params = small.params(model={"dropout": dropout})
    data = load(params)
    whole = last(fit(data, params, 5, CPU, tmp_path / "whole"))
    list(itertools.islice(fit(data, params, 5, CPU, tmp_path / "cut"), stop))
    torch.rand(7)  # whatever else has used the generators since
    resumed = last(fit(data, params, 5, CPU, tmp_path / "cut"))
    assert resumed.history == whole.history
    assert hashed(resumed) == hashed(whole)


def test_a_damaged_state_is_set_aside(tmp_path, capsys):
    params = small.params()
    data = load(params)
    state = tmp_path / "state"
    whole = last(fit(data, params, 5, CPU, tmp_path / "whole"))
    list(itertools.islice(fit(data, params, 5, CPU, state), 2))
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    assert read_state(tmp_path / "state") is None
    assert "set aside" in capsys.readouterr().out
    assert (tmp_path / "state.damaged").exists()
    assert hashed(last(fit(data, params, 5, CPU, state))) == hashed(whole)


def test_the_model_does_not_see_the_test_split(tmp_path):
    params = small.params()
    before = last(fit(load(params), params, 0, CPU, tmp_path / "a"))
    table = pd.read_csv("data/labels.csv")
    test = (table["split"] == "test").to_numpy()
    rng = np.random.default_rng(9)
    table.loc[test, "emotion"] = rng.choice(small.LABELS, test.sum())
    table.to_csv("data/labels.csv", index=False)
    for modality, name in small.STREAM.items():
        with FeatureCache(tmp_path / f"data/features/{name}.h5") as cache:
            names, x, here = cache.utterances, cache.pooled(), cache.status == 0
        x[test] = rng.normal(size=x[test].shape) * 100
        here = here | test
        small.cache(tmp_path, modality, names, np.where(here[:, None], x, 0).astype(np.float32), here)
    after = last(fit(load(params), params, 0, CPU, tmp_path / "b"))
    assert hashed(before) == hashed(after)
    assert before.history == after.history


def test_a_loss_that_is_not_finite_names_its_dialogues(tmp_path):
    params = small.params(train={"lr": 1e30})
    with pytest.raises(UserError, match=r"not finite in epoch .* dialogues d0\d\d"):
        last(fit(load(params), params, 0, CPU, tmp_path / "state"))


def test_a_split_without_labels_is_refused(tmp_path):
    table = pd.read_csv("data/labels.csv")
    table.loc[table["split"] == "val", "emotion"] = ""
    table.to_csv("data/labels.csv", index=False)
    params = small.params()
    with pytest.raises(UserError, match="val split has no labelled utterance"):
        last(fit(load(params), params, 0, CPU, tmp_path / "state"))


@pytest.mark.parametrize("streams", [s for s in itertools.product((0, 1), repeat=3) if any(s)])
def test_every_modality_subset_trains(tmp_path, streams):
    used = {m: name if on else "none" for (m, name), on in zip(small.STREAM.items(), streams, strict=True)}
    params = small.params(train={"streams": used, "epochs": 1})
    done = last(fit(load(params), params, 0, CPU, tmp_path / "state"))
    assert np.isfinite(done.history[0]["train_loss"])
    assert ("train_hgr" in done.history[0]) == (sum(streams) > 1)


def test_logistic_regression_is_selected_the_same_way(tmp_path):
    params = small.params(model={"name": "logreg"})
    done = last(fit(load(params), params, 0, CPU, tmp_path / "state"))
    assert [row["strength"] for row in done.history] == [0.001, 0.01, 0.1, 1.0]
    assert max(row["val_weighted_f1"] for row in done.history) > 0.8
