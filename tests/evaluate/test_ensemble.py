"""The row of an ensemble: the mean of the seeds' probabilities, scored as one model."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from evaluate.experiments.ensemble import ensemble, named
from evaluate.experiments.paired import is_seed, paired_bootstrap
from evaluate.run import details
from evaluate.run.metrics import METRICS, per_label, scores


def answers(run) -> pd.DataFrame:
    """Return predictions.csv as `tables` reads it."""
    text = details.predictions_table(run).to_csv(index=False)
    return pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)


def test_an_ensemble_is_scored_by_its_mean_probabilities(make_run):
    run = make_run(seeds=3, skill=1.0, parts=("train", "val") + ("test",) * 12)
    rows = np.flatnonzero((run.splits == "test") & (run.truth >= 0))
    guess = np.mean([p.probabilities for p in run.predictions], axis=0)[rows].argmax(1)
    found, alone = ensemble(answers(run))
    for metric, value in scores(run.truth[rows], guess, len(run.names)).items():
        assert found[metric] == {"mean": pytest.approx(value), "sd": None, "seeds": [pytest.approx(value)]}
    assert set(METRICS) < set(found)
    by_label = per_label(run.truth[rows], guess, run.names)
    assert {name: found["labels"][name]["f1"] for name in run.names} == {
        name: pytest.approx(by_label[name]["f1"]) for name in run.names
    }
    assert [column for column in alone if is_seed(column)] == ["seed0"]
    assert 0 < paired_bootstrap(alone, answers(run), resamples=200) <= 1
    assert named("MultiEMO", answers(run)) == "MultiEMO, ensemble of 3 seeds"


def test_seeds_that_agree_are_no_ensemble(make_run):
    assert ensemble(answers(make_run(seeds=1))) is None
    same = answers(make_run(seeds=2)).assign(seed1=lambda frame: frame["seed0"])
    assert ensemble(same) is None
