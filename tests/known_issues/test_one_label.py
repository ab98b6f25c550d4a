"""A train split with a single label ended logistic regression in a traceback of scikit-learn's."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from pipeline.errors import UserError
from tests.train import small
from train.fusion.build import read as load
from train.fusion.loop import fit


def test_logistic_regression_says_that_there_is_one_label(tmp_path, monkeypatch):
    small.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    table = pd.read_csv("data/labels.csv")
    table.loc[table["split"] == "train", "emotion"] = "joy"
    table.to_csv("data/labels.csv", index=False)
    params = small.params(model={"name": "logreg"})
    with pytest.raises(UserError, match=r"train split has a single label.*labels.csv and train.fold"):
        list(fit(load(params), params, 0, torch.device("cpu"), tmp_path / "state"))
