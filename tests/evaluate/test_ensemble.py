"""The row of an ensemble: the mean of the seeds' probabilities, scored as one model."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest

from evaluate.experiments.answers import OneLabel, kind_of, seeds
from evaluate.experiments.ensemble import ensemble, named
from evaluate.experiments.paired import paired_bootstrap
from evaluate.run import details
from evaluate.run.metrics import METRICS, per_label, scores
from pipeline.errors import UserError
from tests.evaluate.targets import run_of


def answers(run) -> pd.DataFrame:
    """Return predictions.csv as `tables` reads it."""
    text = details.predictions_table(run).to_csv(index=False)
    return pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)


def test_an_ensemble_is_scored_by_its_mean_probabilities(make_run):
    run = make_run(seeds=3, skill=1.0, parts=("train", "val") + ("test",) * 12)
    rows = np.flatnonzero((run.splits == "test") & (run.truth >= 0))
    guess = np.mean([p.probabilities for p in run.predictions], axis=0)[rows].argmax(1)
    found, alone = ensemble(OneLabel, answers(run))
    for metric, value in scores(run.truth[rows], guess, len(run.names)).items():
        assert found[metric] == {"mean": pytest.approx(value), "sd": None, "seeds": [pytest.approx(value)]}
    assert set(METRICS) < set(found)
    by_label = per_label(run.truth[rows], guess, run.names)
    assert {name: found["labels"][name]["f1"] for name in run.names} == {
        name: pytest.approx(by_label[name]["f1"]) for name in run.names
    }
    assert seeds(alone) == ["seed0"]
    assert 0 < paired_bootstrap(OneLabel(alone), OneLabel(answers(run)), resamples=200) <= 1
    assert named("MultiEMO", answers(run)) == "MultiEMO, ensemble of 3 seeds"


def test_seeds_that_agree_are_no_ensemble(make_run):
    assert ensemble(OneLabel, answers(make_run(seeds=1))) is None
    same = answers(make_run(seeds=2)).assign(seed1=lambda frame: frame["seed0"])
    assert ensemble(OneLabel, same) is None


@pytest.mark.parametrize("kind", ["multi", "values"])
def test_an_ensemble_of_several_labels_or_values_is_scored_like_a_seed(kind):
    """With the mean answers in the place of each seed, the run's own scores are those of the ensemble."""
    run = run_of(kind)
    mean = np.mean([p.probabilities for p in run.predictions], axis=0)
    together = [dataclasses.replace(p, probabilities=mean) for p in run.predictions]
    wanted = details.details(dataclasses.replace(run, predictions=together))["splits"]["test"]
    test = details.details(run)["splits"]["test"]
    found, alone = ensemble(kind_of(test), answers(run))
    assert seeds(alone) == ["seed0"]
    for metric in {"multi": ("macro_f1", "micro_f1", "subset_accuracy"), "values": ("ccc", "pearson", "mae")}[
        kind
    ]:
        assert found[metric]["mean"] == pytest.approx(wanted[metric]["mean"], rel=1e-6)
        one = kind_of(test)(answers(run)).scores("seed0")
        assert one[metric] == pytest.approx(test[metric]["seeds"][0], rel=1e-6)


@pytest.mark.parametrize("kind", ["multi", "values"])
def test_p_of_several_labels_and_of_values(kind, make_run):
    run = run_of(kind, parts=("train", "val") + ("test",) * 12)
    strong = kind_of(details.details(run)["splits"]["test"])(answers(run))
    worse = [dataclasses.replace(p, probabilities=p.without["text"]) for p in run.predictions]
    weak = type(strong)(answers(dataclasses.replace(run, predictions=worse)))
    assert paired_bootstrap(strong, strong, resamples=400) == 1
    assert paired_bootstrap(weak, strong, resamples=400) < 0.05
    other = type(strong)(answers(run).assign(utterance="other"))
    with pytest.raises(UserError, match="not scored on the same test utterances"):
        paired_bootstrap(strong, other)
