"""What is wrong with how the published code trains, and that none of it is wrong here."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.features import FeatureCache
from tests.train import small
from train.fusion.build import read as load
from train.fusion.loop import fit


def test_the_official_dev_set_was_trained_on(tmp_path, monkeypatch):
    """Nothing of a val row enters the weights: the split of the data set chooses epochs and does nothing else."""
    small.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    params = small.params(train={"epochs": 2})
    before = run(params, tmp_path / "a")

    labels = pd.read_csv("data/labels.csv")
    val = (labels["split"] == "val").to_numpy()
    rng = np.random.default_rng(1)
    labels.loc[val, "emotion"] = rng.choice(small.LABELS, val.sum())
    labels.to_csv("data/labels.csv", index=False, lineterminator="\n")
    for modality, name in small.STREAM.items():
        with FeatureCache(tmp_path / f"data/features/{name}.h5") as cache:
            names, x, here = list(cache.utterances), cache.pooled(), cache.status == 0
        x[val] = rng.normal(size=(val.sum(), x.shape[1])) * 100
        small.cache(tmp_path, modality, names, x, here)
    assert run(params, tmp_path / "b") != before, "where val looks the same, equal weights show nothing"
    for epoch in (1, 2):
        one, other = (tmp_path / f / f"{epoch}.safetensors" for f in "ab")
        assert one.read_bytes() == other.read_bytes()


def test_the_learning_rate_schedule_did_not_start_on_current_torch(tmp_path, monkeypatch):
    """`ReduceLROnPlateau(verbose=True)` is a TypeError there; ours runs, and lowers the rate on a plateau."""
    small.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    history = run(small.params(train={"epochs": 25, "patience": 25, "lr": 0.05}), tmp_path / "a")
    rates = [row["lr"] for row in history]
    best = int(np.argmin([row["val_ce"] for row in history]))
    assert best + 11 < len(history), "no plateau, nothing to show"
    assert rates[: best + 11] == [0.05] * (best + 11)
    assert rates[best + 11] == pytest.approx(0.95 * 0.05)


def run(params, epochs):
    epochs.mkdir()
    *_, done = fit(load(params), params, 0, torch.device("cpu"), epochs / "state", epochs)
    return done.history
