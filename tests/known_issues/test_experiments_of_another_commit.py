"""A grid's table took an earlier commit's experiments without a word: dvc finds a name wherever it was used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from evaluate.experiments import tables
from evaluate.run.metrics import METRICS
from pipeline.errors import UserError

NAME = "baselines-majority"
WHO = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def save(score: float) -> None:
    """An experiment of HEAD with this score."""
    Path("results").mkdir(exist_ok=True)
    one = {"mean": score, "sd": None, "seeds": [score]}
    test = {"scored": 1, **dict.fromkeys(METRICS, one)}
    details = {"splits": {"val": {"scored": 0}, "test": test}}
    Path("results/details.json").write_text(json.dumps(details))
    row = {"utterance": "u", "split": "test", "dialogue": "d", "emotion": "joy", "seed0": "joy"}
    pd.DataFrame([row]).to_csv("results/predictions.csv", index=False)
    run(sys.executable, "-m", "dvc", "exp", "save", "-n", NAME, "-I", "results")
    run("git", "clean", "-fdq")


@pytest.mark.slow
def test_another_commits_experiment_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    run("git", "init", "-q")
    run(sys.executable, "-m", "dvc", "init", "-q")
    run("git", "commit", "-qam", "one")
    save(0.1)
    run("git", "commit", "-q", "--allow-empty", "-m", "other params")
    assert tables.results(NAME, "")[0]["accuracy"]["mean"] == 0.1, "dvc no longer does so"
    with pytest.raises(UserError, match=f"{NAME}: no results in the current commit .*compare {NAME}"):
        tables.of_head([NAME], "queue it")
    save(0.2)
    assert tables.of_head([NAME], "")[NAME][0]["accuracy"]["mean"] == 0.2
