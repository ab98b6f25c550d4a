"""MultiEMO's figures for six emotions were shown beside results on IEMOCAP's four."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from evaluate.experiments import tables
from evaluate.run.metrics import METRICS
from pipeline.params import load


@pytest.mark.parametrize(
    ("preset", "figure"), [("iemocap", 62.75), ("iemocap4-foalnet", None), ("demo", None)]
)
def test_figures_are_those_of_the_same_labels(monkeypatch, preset, figure):
    params = load(Path(f"presets/{preset}.yaml"))
    test = {metric: {"mean": 0.5, "sd": None, "seeds": [0.5]} for metric in METRICS}
    answers = pd.DataFrame(
        {"utterance": ["u"], "split": "test", "dialogue": "d", "emotion": "joy", "seed0": "joy"}
    )
    monkeypatch.setattr(tables, "load", lambda: params)
    monkeypatch.setattr(tables, "of_head", lambda names, hint: dict.fromkeys(names, (test, answers)))
    monkeypatch.setattr(tables, "cost", lambda name: {})
    published = tables.collect("baselines").set_index("row")["published"]
    assert published.dropna().get("DialogueRNN") == figure
