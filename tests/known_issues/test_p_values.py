"""p was low where nothing differed: always with one test dialogue, too often with few; 1 with labels of digits."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from evaluate.experiments import tables
from evaluate.experiments.answers import OneLabel
from evaluate.experiments.paired import paired_bootstrap
from evaluate.run.metrics import METRICS


def answers(dialogues: int, right: float, labels: str = "ab", unlabelled: int = 0) -> pd.DataFrame:
    """Twelve turns a dialogue, the given share of answers right; the same truth every time."""
    count = 12 * dialogues
    truth = np.random.default_rng(0).choice(list(labels), count)
    other = np.where(truth == labels[0], labels[1], labels[0])
    guess = np.where(np.random.default_rng(1).random(count) < right, truth, other)
    truth[:unlabelled] = ""
    return pd.DataFrame(
        {
            "utterance": [f"u{i}" for i in range(count)], "split": "test",
            "dialogue": [f"d{i // 12}" for i in range(count)], "emotion": truth, "seed0": guess,
        }
    )  # fmt: skip


@pytest.mark.parametrize("dialogues", [1, 2, 9])
def test_a_few_dialogues_have_no_p(dialogues):
    a, b = answers(dialogues, 0.9), answers(dialogues, 0.2)
    assert np.isnan(paired_bootstrap(OneLabel(a), OneLabel(b)))


def test_ten_have_one():
    assert paired_bootstrap(OneLabel(answers(10, 0.9)), OneLabel(answers(10, 0.2))) < 0.001


def test_labels_of_digits_are_no_numbers(monkeypatch):
    """With an unlabelled row the column of truth is text; seeds' answers were read as numbers, and none was right."""
    score = {"mean": 0.5, "sd": None, "seeds": [0.5]}
    files = {}
    for name, right in (("good", 0.9), ("bad", 0.2)):
        table = answers(12, right, labels="01", unlabelled=3)
        test = {"scored": 1, **dict.fromkeys(METRICS, score)}
        details = {"splits": {"val": {"scored": 0}, "test": test}}
        files[name] = {
            "results/predictions.csv": table.to_csv(index=False),
            "results/details.json": json.dumps(details),
        }
    monkeypatch.setattr("dvc.api.read", lambda path, rev, encoding: files[rev][path])
    assert tables.compare(["good", "bad"], "good")["p"][1] < 0.001
