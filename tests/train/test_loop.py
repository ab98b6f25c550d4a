"""The training loop: selection on val, resume, determinism, and the test split left alone."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from tests.train import small
from train.checkpoint import read_state
from train.fusion import loop
from train.fusion.build import read
from train.fusion.build import read as load
from train.fusion.loop import fit
from train.fusion.params import fusion

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    small.make(tmp_path)


def foalnet(**train):
    return small.params(
        model={"name": "foalnet", "dropout": 0.3}, train={"lr": 3e-3, **train}, loss={"avel": 0.1}
    )


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
    model, _ = loop.build(fusion(params), data.dims, data.goal)
    model.load_state_dict(done.weights)
    again = loop.score(model, data, data.units("val"), CPU)
    assert again["val_weighted_f1"] == pytest.approx(max(scores), abs=1e-9)


def test_foalnet_learns_in_the_same_loop(tmp_path):
    small.add_frames(tmp_path)
    params = foalnet(epochs=15, lr=1e-2)
    done = last(fit(read(params), params, 0, CPU, tmp_path / "state"))
    assert max(row["val_weighted_f1"] for row in done.history) > 0.8
    assert {"train_ce", "train_avel", "train_mem"} <= set(done.history[0])


def test_patience_ends_the_run(tmp_path):
    params = small.params(train={"epochs": 100, "patience": 2, "lr": 1e-2})
    done = last(fit(load(params), params, 0, CPU, tmp_path / "state"))
    assert len(done.history) == done.best_epoch + 2


@pytest.mark.parametrize("span", [0.0, 0.5, 2.0])
def test_what_is_kept_is_an_average_of_the_steps_weights(tmp_path, span):
    params = small.params(train={"epochs": 2, "lr": 1e-2, "ema_epochs": span})
    data = load(params)
    steps = []

    def note(optimiser, *_):
        steps.append([p.detach().clone() for group in optimiser.param_groups for p in group["params"]])

    hook = register_optimizer_step_post_hook(note)
    try:
        done = last(fit(data, params, 0, CPU, tmp_path / "state"))
    finally:
        hook.remove()
    epoch = len(steps) // 2
    assert epoch > 1
    fade = np.exp(-1 / (span * epoch)) if span else 0.0
    average = steps[0]
    for step in steps[1 : done.best_epoch * epoch]:
        average = [fade * a + (1 - fade) * p for a, p in zip(average, step, strict=True)]
    model, _ = loop.build(fusion(params), data.dims, data.goal)
    names = [name for name, _ in model.named_parameters()]
    for name, expected in zip(names, average, strict=True):
        torch.testing.assert_close(done.weights[name], expected, atol=1e-6, rtol=1e-5)


def test_same_seed_same_bytes_and_another_seed_others(tmp_path):
    params = small.params()
    data = load(params)
    runs = [hashed(last(fit(data, params, seed, CPU, tmp_path / str(i)))) for i, seed in enumerate((3, 3, 4))]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, stop):
    params = small.params(model={"dropout": 0.3})
    data = read(params)
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
    assert "state: damaged" in capsys.readouterr().out
    assert (tmp_path / "state.damaged").exists()
    assert hashed(last(fit(data, params, 5, CPU, state))) == hashed(whole)


@pytest.mark.parametrize("params", [small.params(), foalnet()], ids=["multiemo", "foalnet"])
def test_the_model_does_not_see_the_test_split(tmp_path, params):
    small.add_frames(tmp_path)
    before = last(fit(read(params), params, 0, CPU, tmp_path / "a"))
    table = pd.read_csv("data/labels.csv")
    test = (table["split"] == "test").to_numpy()
    rng = np.random.default_rng(9)
    table.loc[test, "emotion"] = rng.choice(small.LABELS, test.sum())
    table.to_csv("data/labels.csv", index=False)
    for modality, name in small.STREAM.items():
        with FeatureCache(tmp_path / f"data/features/{name}.h5") as cache:
            names, x, here = cache.utterances, cache.pooled(), cache.status == 0
            frames = [cache.frames(i) for i in range(len(names))] if cache.has_frames else None
        x[test] = rng.normal(size=x[test].shape) * 100
        here = here | test
        x = np.where(here[:, None], x, 0).astype(np.float32)
        for i in np.flatnonzero(test) if frames else ():
            frames[i] = (rng.normal(size=(rng.integers(1, 30), x.shape[1])) * 100).astype(np.float32)
        small.cache(tmp_path, modality, names, x, here, frames)
    after = last(fit(read(params), params, 0, CPU, tmp_path / "b"))
    assert hashed(before) == hashed(after)
    assert before.history == after.history


def test_a_loss_that_is_not_finite_names_its_dialogues(tmp_path):
    params = small.params(train={"lr": 1e30})
    with pytest.raises(UserError, match=r"not finite in epoch .* for the dialogues d0\d\d"):
        last(fit(load(params), params, 0, CPU, tmp_path / "state"))


def test_frames_whose_loss_is_not_finite_are_named_too(tmp_path):
    small.add_frames(tmp_path)
    params = foalnet(lr=1e30)
    with pytest.raises(UserError, match=r"not finite in epoch .* for the utterances d0\d\d_u"):
        last(fit(read(params), params, 0, CPU, tmp_path / "state"))


@pytest.mark.parametrize("share", ["0", "1"])
def test_frames_on_disk_train_to_the_same_bytes(tmp_path, monkeypatch, share):
    small.add_frames(tmp_path)
    params = foalnet(epochs=2)
    expected = hashed(last(fit(read(params), params, 0, CPU, tmp_path / "state")))
    monkeypatch.setenv("EMOFUSE_FRAMES_SHARE", share)
    assert hashed(last(fit(read(params), params, 0, CPU, tmp_path / share))) == expected


def test_foalnet_trains_in_bf16_and_with_statistics_of_speakers(tmp_path):
    small.add_frames(tmp_path)
    params = foalnet(epochs=1, precision="bf16", normalise="speaker")
    assert np.isfinite(last(fit(read(params), params, 0, CPU, tmp_path / "state")).history[0]["train_loss"])


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
