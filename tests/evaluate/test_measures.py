"""Votes, several labels and values: scores against scikit-learn, SciPy and arithmetic, intervals, files and page."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, mean_absolute_error

from evaluate.run import details, figures, plots, report
from evaluate.run.measures import measure_of
from evaluate.run.measures.values import moments, moments_scores, signs, signs_scores
from evaluate.stage import terminal
from tests.evaluate.targets import NAMES, run_of

KINDS = ("soft", "multi", "values")


def rows_of(kind: str):
    """Return a run, and its scored test rows."""
    run = run_of(kind)
    return run, np.flatnonzero((run.splits == "test") & measure_of(run).known)


def test_several_labels_are_scored_as_scikit_learn_does():
    run, rows = rows_of("multi")
    p, truth = run.first, run.truth[rows] > 0
    guess = p.probabilities[rows] >= np.array(p.thresholds)
    found = measure_of(run).details(p, rows)
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(truth, guess, average="micro"))
    assert found["subset_accuracy"] == pytest.approx(accuracy_score(truth, guess))
    each = [average_precision_score(truth[:, k], p.probabilities[rows, k]) for k in range(3)]
    assert found["mean_average_precision"] == pytest.approx(np.mean(each))
    assert [found["labels"][name]["average_precision"] for name in NAMES] == pytest.approx(each)
    assert [found["labels"][name]["support"] for name in NAMES] == truth.sum(axis=0).tolist()


def test_votes_are_scored_by_divergence_and_by_their_majority():
    run, rows = rows_of("soft")
    votes = np.flatnonzero((run.splits == "test") & ~np.isnan(run.shares).any(axis=1))
    assert len(votes) > len(rows)  # tied votes have no majority
    found = measure_of(run).details(run.first, rows)
    p, q = run.shares[votes], run.first.probabilities[votes]
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / q), 0)
    assert found["kl"] == pytest.approx(terms.sum(axis=1).mean())
    guess = run.first.probabilities[rows].argmax(axis=1)
    assert found["weighted_f1"] == pytest.approx(f1_score(run.truth[rows], guess, average="weighted"))


def test_values_are_scored_as_scipy_and_scikit_learn_do():
    run, rows = rows_of("values")
    found = measure_of(run).details(run.first, rows)
    each = {"ccc": [], "pearson": [], "mae": []}
    for k, name in enumerate(run.names):
        here = rows[~np.isnan(run.truth[rows, k])]
        x, y = run.truth[here, k], run.first.probabilities[here, k]
        each["pearson"].append(pearsonr(x, y).statistic)
        each["mae"].append(mean_absolute_error(x, y))
        each["ccc"].append(2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
        assert found["values"][name]["rated"] == len(here)
        assert [found["values"][name][key] for key in each] == pytest.approx(
            [column[k] for column in each.values()]
        )
    assert [found[key] for key in each] == pytest.approx([np.mean(column) for column in each.values()])


def test_sentiment_is_scored_as_mmsa_does():
    """Its formulas, spelt out on the unit of MOSI."""
    rng = np.random.default_rng(0)
    truth = np.r_[rng.integers(-9, 10, 60) / 3, np.nan]
    answers = np.nan_to_num(truth) + rng.normal(scale=1.0, size=61)
    found = signs_scores(signs(truth, answers).sum(axis=0))
    x, y = truth[:-1], answers[:-1]
    moved = x != 0
    assert 0 < moved.sum() < 60
    assert found["acc2_has0"] == pytest.approx(np.mean((x >= 0) == (y >= 0)))
    assert found["acc2_non0"] == pytest.approx(np.mean((x[moved] > 0) == (y[moved] > 0)))
    assert found["f1_has0"] == pytest.approx(f1_score(x >= 0, y >= 0, average="weighted"))
    assert found["f1_non0"] == pytest.approx(f1_score(x[moved] > 0, y[moved] > 0, average="weighted"))
    assert found["acc7"] == pytest.approx(np.mean(np.round(np.clip(x, -3, 3)) == np.round(np.clip(y, -3, 3))))


def test_a_constant_has_no_correlation():
    found = moments_scores(moments(np.array([1.0, 2, 3]), np.full(3, 2.0)).sum(axis=0))
    assert found["ccc"] == pytest.approx(0)
    assert np.isnan(found["pearson"])
    assert np.isnan(moments_scores(moments(np.array([np.nan]), np.ones(1)).sum(axis=0))["mae"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_is_of_the_mean_over_seeds_and_dialogues(kind):
    run, rows = rows_of(kind)
    ends = measure_of(run).intervals(rows)
    found = details.details(run)["splits"]["test"]
    for metric in set(measure_of(run).metrics) - {"mean_average_precision"}:
        low, high = ends[metric]
        assert low < found[metric]["mean"] < high
        assert (found[metric]["low"], found[metric]["high"]) == (low, high)
    one = rows[run.dialogues[rows] == run.dialogues[rows[0]]]
    assert measure_of(run).intervals(one) is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_have_the_scores_and_every_answer(kind, tmp_path):
    run = run_of(kind)
    found = details.details(run)
    table = details.write(run, found, tmp_path)
    metrics = measure_of(run).metrics
    assert set(metrics) <= set(table["test"])
    assert f"{metrics[0]}_low" in table["test"]
    text = (tmp_path / "details.json").read_text()
    assert json.loads(text)["splits"]["test"][metrics[0]]["mean"] == table["test"][metrics[0]]
    assert "95% interval over dialogues" in terminal(table)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "predictions.csv").read_text())))
    assert len(rows) == len(run.utterances)
    i = next(i for i, split in enumerate(run.splits) if split == "test" and measure_of(run).known[i])
    if kind == "values":
        mean = np.mean([p.probabilities[i, 0] for p in run.predictions])
        assert float(rows[i]["predicted valence"]) == pytest.approx(mean)
        assert float(rows[i]["seed1 valence"]) == pytest.approx(run.predictions[1].probabilities[i, 0])
    elif kind == "multi":
        there = run.first.probabilities[i] >= np.array(run.first.thresholds)
        assert rows[i]["seed0"] == "|".join(name for name, here in zip(NAMES, there, strict=True) if here)
        assert rows[i]["emotion"] == "|".join(np.array(NAMES)[run.truth[i] > 0])
    else:
        assert rows[i]["emotion"] == NAMES[run.truth[i]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_and_the_plots_show_the_scores(kind, tmp_path):
    run = run_of(kind)
    found = details.details(run)
    page = report.render(run, found)
    assert page == report.render(run, found)
    title = report.TITLES[measure_of(run).metrics[0]]
    assert f"{title}, test" in page
    shown = [json.loads(path.replace("&#34;", '"')) for path in re.findall(r'data-path="([^"]*)"', page)]
    for path in shown:
        value = found
        for key in path:
            value = value[key]
        assert isinstance(value, int | float)
    assert ["splits", "test", measure_of(run).metrics[-1], "mean"] in shown
    utterance = next(u for u, split in zip(run.utterances, run.splits, strict=True) if split == "test")
    assert f"turn-{utterance.utterance}" in page
    tables = plots.tables(run, found)
    assert len(tables["values"]) == (
        np.sum(~np.isnan(run.truth[run.splits == "test"])) if kind == "values" else 0
    )
    drawn = {path.stem for path in figures.write(run, found, tmp_path)}
    assert {"loss", "scores", "modalities", "values" if kind == "values" else "per_label"} <= drawn


def test_no_score_without_labels_on_test():
    for kind in KINDS:
        run = run_of(kind)
        test = run.splits == "test"
        run.truth[test] = -1 if kind == "soft" else np.nan
        found = details.details(run)
        assert found["splits"]["test"]["scored"] == 0
        assert "nothing to score" in report.render(run, found)
