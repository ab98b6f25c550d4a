"""Scores against arithmetic spelt out label by label, with labels absent in every way they can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluate.run import metrics, resamples
from evaluate.run.metrics import METRICS

CLASSES = 4
answers = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40
)


def naive(pairs: list[tuple[int, int]]) -> dict[str, float]:
    f1, recall, support = {}, {}, {}
    for c in range(CLASSES):
        hits = sum(t == p == c for t, p in pairs)
        support[c] = sum(t == c for t, _ in pairs)
        claimed = sum(p == c for _, p in pairs)
        if support[c] + claimed:
            f1[c] = 2 * hits / (support[c] + claimed)
        if support[c]:
            recall[c] = hits / support[c]
    return {
        "weighted_f1": sum(f1.get(c, 0) * support[c] for c in range(CLASSES)) / len(pairs),
        "macro_f1": sum(f1.values()) / len(f1),
        "accuracy": sum(t == p for t, p in pairs) / len(pairs),
        "unweighted_accuracy": sum(recall.values()) / len(recall),
    }


@given(answers)
@settings(max_examples=150, deadline=None)
def test_scores_equal_naive_ones_and_those_of_the_bootstrap(pairs):
    truth, predicted = np.array(pairs).T
    expected = naive(pairs)
    assert metrics.scores(truth, predicted, CLASSES) == pytest.approx(expected)
    once = metrics.resampled(np.ones((1, 1), int), np.zeros(len(pairs), int), truth, predicted)
    assert {k: float(v[0]) for k, v in once.items()} == pytest.approx(expected)


@given(answers)
@settings(max_examples=80, deadline=None)
def test_per_label_is_none_exactly_where_undefined(pairs):
    truth, predicted = np.array(pairs).T
    table = metrics.per_label(truth, predicted, list("abcd"))
    for c, row in enumerate(table.values()):
        hits = int(((truth == c) & (predicted == c)).sum())
        support, claimed = int((truth == c).sum()), int((predicted == c).sum())
        assert row["support"] == support
        assert row["recall"] == (pytest.approx(hits / support) if support else None)
        assert row["precision"] == (pytest.approx(hits / claimed) if claimed else None)
        assert row["f1"] == (pytest.approx(2 * hits / (support + claimed)) if support + claimed else None)


@given(st.integers(1, 60), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_calibration_error_equals_a_loop_over_utterances(n, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(CLASSES), size=n)
    truth = rng.integers(CLASSES, size=n)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, t in zip(p, truth, strict=True):
        b = next(b for b in range(15) if row.max() <= (b + 1) / 15)
        bins.setdefault(b, []).append((row.max(), row.argmax() == t))
    gaps = [len(b) / n * abs(np.mean([r for _, r in b]) - np.mean([c for c, _ in b])) for b in bins.values()]
    found = metrics.calibration(truth, p)
    assert found["error"] == pytest.approx(sum(gaps))
    assert sum(b["count"] for b in found["bins"]) == n
    assert all(b["low"] < b["confidence"] <= b["high"] + 1e-12 for b in found["bins"])


def test_confidence_of_exactly_one_is_in_the_last_bin():
    found = metrics.calibration(np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert found["bins"] == [{"low": 14 / 15, "high": 1.0, "count": 2, "confidence": 1.0, "accuracy": 0.5}]
    assert found["error"] == 0.5


def test_intervals_equal_a_bootstrap_that_copies_rows():
    rng = np.random.default_rng(3)
    dialogue = np.repeat(["a", "b", "c", "d"], [3, 5, 2, 6])
    truth = rng.integers(3, size=16)
    predicted = np.where(rng.random((2, 16)) < 0.6, truth, rng.integers(3, size=(2, 16)))
    drawn = np.random.default_rng(resamples.SEED).multinomial(4, np.full(4, 0.25), size=50)
    values = {metric: [] for metric in METRICS}
    for counts in drawn:
        copies = [
            np.flatnonzero(dialogue == d) for d, n in zip("abcd", counts, strict=True) for _ in range(n)
        ]
        rows = np.concatenate(copies)
        seeds = [metrics.scores(truth[rows], p[rows], 3) for p in predicted]
        for metric in METRICS:
            values[metric].append(np.mean([s[metric] for s in seeds]))
    found = metrics.intervals(truth, predicted, dialogue, resamples=50)
    for metric in METRICS:
        assert found[metric] == pytest.approx(np.quantile(values[metric], (0.025, 0.975)))


def test_dialogues_are_resampled_whole():
    # All of a dialogue is right, or all of it wrong: as dialogues that is 4 observations, as turns 400.
    dialogue = np.repeat(np.arange(4), 100)
    truth = np.zeros(400, dtype=int)
    whole = metrics.intervals(truth, (dialogue % 2)[None], dialogue, 1000)["accuracy"]
    turns = metrics.intervals(truth, (dialogue % 2)[None], np.arange(400), 1000)["accuracy"]
    assert whole == (0.0, 1.0)
    assert 0.43 < turns[0] < 0.47 < 0.53 < turns[1] < 0.57


def test_one_dialogue_has_no_interval():
    assert metrics.intervals(np.array([0, 1]), np.array([[0, 0]]), np.array(["d", "d"]), 100) is None


def test_interval_covers_the_score_and_narrows_with_more_dialogues():
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 320):
        dialogue = np.repeat(np.arange(count), 8)
        truth = rng.integers(5, size=len(dialogue))
        predicted = np.where(rng.random(len(truth)) < 0.7, truth, rng.integers(5, size=len(truth)))
        score = metrics.scores(truth, predicted, 5)
        found = metrics.intervals(truth, predicted[None], dialogue, 1000)
        assert all(low < score[metric] < high for metric, (low, high) in found.items())
        widths.append(found["weighted_f1"][1] - found["weighted_f1"][0])
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.3)
