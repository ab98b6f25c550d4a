"""Training stopped at the majority class, because patience counted epochs before the network had begun to learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.params import Params
from tests.train import small
from train.fusion.build import read
from train.fusion.hints import hints
from train.fusion.loop import fit
from train.selection import majority_f1
from train.stage import run as train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most labels are neutral, so a network first predicts this label everywhere."""
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path, dialogues=60)
    table = pd.read_csv("data/labels.csv")
    rare = (table["emotion"] != "neutral") & (np.random.default_rng(0).random(len(table)) < 0.7)
    table.loc[rare, "emotion"] = ""
    table.to_csv("data/labels.csv", index=False)


def stops_at(scores: list[float], patience: int) -> int:
    """Return the epoch at which plain patience would have stopped."""
    best = 1
    for epoch, value in enumerate(scores, start=1):
        if epoch - best > patience:
            return epoch - 1
        best = epoch if value > scores[best - 1] else best
    return len(scores)


@pytest.mark.slow
def test_ten_fold_seeds_learn_or_are_named(tmp_path: Path) -> None:
    rescued = 0
    for fold in ("0", "1"):
        knobs = {"epochs": 50, "patience": 3, "lr": 1e-3, "batch_size": 8, "fold": fold, "seeds": 5}
        params = small.params(train=knobs, model={"layers": 1, "ffn": 16, "dropout": 0.1})
        data = read(params)
        majority = majority_f1(data.labels[data.split == "val"])
        history = {}
        for seed in range(5):
            *_, done = fit(data, params, seed, CPU, tmp_path / f"{fold}{seed}")
            history[seed] = done.history
            scores = [row["val_weighted_f1"] for row in done.history]
            if max(scores) > majority:
                assert len(scores) == min(knobs["epochs"], done.best_epoch + 3)
                rescued += max(scores[: stops_at(scores, 3)]) <= majority
        silent = [s for s, rows in history.items() if max(r["val_weighted_f1"] for r in rows) <= majority]
        said = [hint for hint in hints(data, params, history) if "majority class" in hint]
        assert len(said) == bool(silent)
        assert all(str(seed) in said[0] for seed in silent)
    assert rescued >= 5


@pytest.mark.slow
def test_a_run_that_never_learns_trains_to_the_end_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv("data/labels.csv")
    table.loc[table["split"] == "val", "emotion"] = "neutral"  # so the majority class is right for all of val
    table.to_csv("data/labels.csv", index=False)
    knobs = {"epochs": 6, "patience": 2, "lr": 1e-9, "seeds": 2}
    (tmp_path / "params.yaml").write_text(json.dumps(small.params(train=knobs).model_dump(mode="json")))
    train()
    assert [len(pd.read_csv(f"models/seed{seed}/history.csv")) for seed in (0, 1)] == [6, 6]
    assert "hint: seeds 0, 1: no epoch beats the majority class on val" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["majority", "logreg"])
def test_solved_models_have_no_hints_about_epochs(tmp_path: Path, name: str) -> None:
    params: Params = small.params(model={"name": name})
    data = read(params)
    *_, done = fit(data, params, 0, CPU, tmp_path / "state")
    found = hints(data, params, {0: done.history})
    assert not [
        hint for hint in found if "majority class" in hint or "epoch is the last" in hint or "step" in hint
    ]
