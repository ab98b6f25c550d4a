"""A run that diverged at its last step stored weights of NaN; an overflowing loss term was reported as train.lr."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import UserError
from tests.train import small
from train.fusion import loop
from train.fusion.build import read as load
from train.fusion.loop import fit


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    small.make(tmp_path)


def run(tmp_path, **sections):
    params = small.params(**sections)
    return list(fit(load(params), params, 0, torch.device("cpu"), tmp_path / "state", tmp_path / "epochs"))


def test_a_run_that_diverges_at_its_last_step_stores_nothing(tmp_path):
    one_step = {"epochs": 1, "batch_size": 100, "lr": 1e30}
    with pytest.raises(
        UserError, match=r"loss on val \(ce=nan\) is not finite after epoch 1; lower train.lr"
    ):
        run(tmp_path, train=one_step)
    assert not (tmp_path / "state").exists()
    assert not list((tmp_path / "epochs").iterdir())


def test_the_term_that_is_not_finite_is_named(tmp_path):
    with pytest.raises(UserError, match=r"loss \(total=\w+, swfc=\w+\) is not finite .* params of `loss`"):
        run(tmp_path, loss={"alpha": 1000.0, "swfc_weights": "raw"})
    with pytest.raises(UserError, match=r"ce=nan\) is not finite .*; lower train.lr$"):
        run(tmp_path, train={"lr": 1e30})
