"""Sessions that Hydra does not take bare could not be queued, and folds of unequal seeds counted as wrong answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

from evaluate.experiments import folds
from evaluate.run.metrics import METRICS
from pipeline.errors import UserError
from pipeline.params import load
from pipeline.tables.schema import UTTERANCE_COLUMNS

PARAMS = Path(__file__).parents[2] / "params.yaml"
SESSIONS = ["1", "01", "1e3", "1.0", "-3", "true", "null", "a,b", "it's", "Ünal", "Ses01 (x)", "S 1"]


def test_every_session_reaches_params_as_it_is(tmp_path, monkeypatch):
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folds, "sessions", lambda: SESSIONS)
    queued = folds.planned("model", folds.ALONE, 1)
    found = []
    for changes in queued.values():
        shutil.copy(PARAMS, tmp_path)
        (overrides,) = get_hydra_sweeps({"params.yaml": list(changes)})
        apply_overrides(tmp_path / "params.yaml", overrides["params.yaml"])
        found.append(str(load(Path("params.yaml")).train.fold))
    assert found == SESSIONS


def test_sessions_whose_experiments_would_replace_one_another_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"u{i},d{i},0,A,{session},,,,," for i, session in enumerate(["1.0", "1_0", "2"])]
    (tmp_path / "data").mkdir()
    Path("data/utterances.csv").write_text("\n".join([",".join(UTTERANCE_COLUMNS), *rows, ""]))
    with pytest.raises(UserError, match=r"sessions '1.0' and '1_0' give the same experiment name"):
        folds.sessions()


def test_folds_of_unequal_seeds_are_refused():
    test = {metric: {"mean": 0.5, "sd": None, "seeds": [0.5]} for metric in METRICS}
    one = pd.DataFrame(
        {"utterance": ["u"], "split": "test", "dialogue": "d", "emotion": "joy", "seed0": "joy"}
    )
    two = one.assign(seed1="joy")
    with pytest.raises(UserError, match=r"Foal-Net: .*fold 1: seed0; fold 2: seed0 seed1"):
        folds.over_folds("Foal-Net", {"1": (test, one), "2": (test, two)})
