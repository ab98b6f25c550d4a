"""MELD's real csv files, from annotation to scores; skipped without EMOFUSE_DATA."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.clone import clone, edit, ran, run

FOLDER = Path(os.environ.get("EMOFUSE_DATA", "")) / "meld_text"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "EMOFUSE_DATA" not in os.environ or not (FOLDER / "train_sent_emo.csv").exists(),
        reason=f"no {FOLDER.name} in EMOFUSE_DATA",
    ),
]


def test_multiemo_beats_logistic_regression_on_the_same_vectors(tmp_path):
    """presets/meld-text.yaml with two seeds of five, and vectors of sentences without context, which are shorter."""
    project = clone(tmp_path)
    (project / "params.yaml").write_bytes((project / "presets/meld-text.yaml").read_bytes())
    edit(project / "params.yaml", "seeds: 5", "seeds: 2")
    edit(project / "params.yaml", "past: 3", "past: 0")
    edit(project / "params.yaml", "bootstrap: 1000", "bootstrap: 10")
    media = {"EMOFUSE_MEDIA": str(FOLDER.resolve())}
    output = run(project, "dvc", "repro", **media)
    assert ran(output) == ["check", "prepare", "extract@text", "train", "evaluate"]
    assert "13708 utterances: 13708 ok" in output
    ours = json.loads((project / "results/metrics.json").read_text())
    output = run(project, "dvc", "exp", "run", "-S", "model.name=logreg", "-S", "train.seeds=1", **media)
    assert ran(output) == ["check", "train", "evaluate"]
    theirs = json.loads((project / "results/metrics.json").read_text())
    scores = {split: (ours[split]["weighted_f1"], theirs[split]["weighted_f1"]) for split in ("val", "test")}
    print(scores)
    assert scores["test"][0] > scores["test"][1] > 0.53
    assert scores["val"][0] > scores["val"][1] + 0.01
