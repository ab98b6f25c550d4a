"""The three files: means over seeds, what is left out and why, the same bytes for the same run."""

from __future__ import annotations

import csv
import dataclasses
import json
import warnings

import numpy as np
import pytest

from evaluate.run import details, metrics, report
from evaluate.run.measures.labels import WRONG
from evaluate.run.metrics import METRICS
from evaluate.run.results import Prediction, leaders
from evaluate.stage import terminal
from pipeline.params import ModelSection


def test_the_headline_is_the_mean_of_the_seeds_own_scores(make_run):
    run = make_run(seeds=3, skill=1.5)
    found = details.details(run)
    truth = run.truth
    rows = [i for i, s in enumerate(run.splits) if s == "test" and truth[i] >= 0]
    each = [
        metrics.scores(truth[rows], p.probabilities[rows].argmax(1), 6)["weighted_f1"]
        for p in run.predictions
    ]
    mean = np.mean([p.probabilities for p in run.predictions], axis=0)
    ensemble = metrics.scores(truth[rows], mean[rows].argmax(1), 6)["weighted_f1"]
    score = found["splits"]["test"]["weighted_f1"]
    assert score["seeds"] == each
    assert score["mean"] == pytest.approx(np.mean(each))
    assert score["sd"] == pytest.approx(np.std(each, ddof=1))
    assert score["mean"] != pytest.approx(ensemble)
    assert score["low"] < score["mean"] < score["high"]


def test_metrics_json_is_short_and_a_part_of_details(make_run):
    run = make_run(seeds=2)
    found = details.details(run)
    table = details.short(found, run.params)
    assert set(table) == {"train", "val", "test"}
    assert set(table["train"]) == set(METRICS)
    assert set(table["test"]) == {*METRICS, "weighted_f1_low", "weighted_f1_high", "weighted_f1_sd"}
    for split, row in table.items():
        for metric in METRICS:
            assert row[metric] == found["splits"][split][metric]["mean"]
    assert table["test"]["weighted_f1_sd"] == found["splits"]["test"]["weighted_f1"]["sd"]


def test_one_seed_has_no_sd_and_speaker_statistics_are_owned_up_to(make_run):
    run = make_run(normalise="speaker")
    table = details.short(details.details(run), run.params)
    assert "weighted_f1_sd" not in table["test"]
    assert table["transductive"] is True
    assert "sd over seeds" not in terminal(table)


def causal(run, **model):
    params = run.params.model_copy(update={"model": ModelSection(name="multiemo", **model)})
    return dataclasses.replace(run, params=params)


def test_a_causal_model_is_named(make_run):
    run = make_run()
    assert details.details(run)["causal"] is False
    assert "causal" not in details.short(details.details(run), run.params)
    found = details.details(causal(run, causal=True))
    assert found["causal"] is True
    assert details.short(found, run.params)["causal"] is True
    assert "causal: no answer depends on later turns" in report.render(causal(run, causal=True), found)


def test_a_causal_model_of_features_that_read_later_turns_is_not_causal(make_run):
    run = causal(make_run(normalise="speaker"), causal=True)
    ahead = dataclasses.replace(run.streams[0], encoder={"encoder": "text", "context": {"future": 2}})
    run = dataclasses.replace(run, streams=[ahead, *run.streams[1:]])
    found = details.details(run)
    assert found["causal"] is False
    assert found["hints"][-1] == (
        "model.causal is true, but features depend on later turns through context.future=2 of the stream text and "
        "train.normalise=speaker, so the answers are not causal"
    )


def test_oracle_is_reported_only_when_given_and_under_its_own_name(make_run):
    run = make_run()
    assert "oracle_test" not in details.details(run)
    truth = np.maximum(run.truth, 0)
    perfect = Prediction(0, np.eye(6, dtype=np.float32)[truth])
    given = dataclasses.replace(run, oracle=[perfect])
    found = details.details(given)
    table = details.short(found, run.params)
    assert table["oracle_test"] == dict.fromkeys(METRICS, 1.0)
    assert table["test"] == details.short(details.details(run), run.params)["test"]
    assert "oracle_test" in terminal(table)


def test_unlabelled_utterances_are_predicted_but_not_scored(make_run):
    run = make_run(unlabelled=0.5)
    found = details.details(run)
    test = found["splits"]["test"]
    unlabelled = int(((run.splits == "test") & (run.truth < 0)).sum())
    assert unlabelled > 3
    assert test["scored"] == test["utterances"] - unlabelled
    assert sum(row["support"] for row in test["labels"].values()) == test["scored"]
    table = details.predictions_table(run)
    assert len(table) == len(run.utterances)
    assert set(table["predicted"]) <= set(run.names)


@pytest.mark.parametrize(
    ("parts", "unlabelled", "scored"),
    [
        (("train", "val"), 0.0, {"train", "val"}),
        (("train", "test"), 0.0, {"train", "test"}),
        (("train", "val", "test"), 1.0, set()),
    ],
)
def test_a_split_that_is_empty_or_unlabelled_has_no_scores(make_run, tmp_path, parts, unlabelled, scored):
    run = make_run(parts=parts, unlabelled=unlabelled)
    found = details.details(run)
    table = details.write(run, found, tmp_path)
    assert set(table) == scored
    assert "NaN" not in (tmp_path / "details.json").read_text()
    assert found["wrong"] == [] or "test" in scored
    terminal(table)


def test_absent_labels_are_null_and_never_nan(make_run, tmp_path):
    run = make_run(emotions=[f"e{i}" for i in range(40)], parts=("train", "test"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        details.write(run, details.details(run), tmp_path)
    labels = json.loads((tmp_path / "details.json").read_text())["splits"]["test"]["labels"]
    absent = [row for row in labels.values() if row["support"] == 0]
    assert absent
    assert all(row["recall"] is None for row in absent)


def test_the_same_run_gives_the_same_bytes(make_run, tmp_path):
    for folder in ("a", "b"):
        run = make_run(seeds=2)
        details.write(run, details.details(run), tmp_path / folder)
    for name in ("metrics.json", "details.json", "predictions.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_predictions_csv_averages_probabilities_and_keeps_each_seeds_answer(make_run, tmp_path):
    run = make_run(seeds=2, lines=['He said "no",\nthen left.'], skill=1.0)
    details.write(run, details.details(run), tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    head = ["utterance", "split", "dialogue", "turn", "speaker", "emotion", "predicted", "seed0", "seed1"]
    assert rows[0] == [*head, *run.names]
    mean = np.mean([p.probabilities for p in run.predictions], axis=0, dtype=np.float64)
    for i, row in enumerate(rows[1:]):
        assert row[:6] == [
            run.utterances[i].utterance, run.splits[i], run.utterances[i].dialogue, str(run.utterances[i].turn),
            run.utterances[i].speaker, "" if run.truth[i] < 0 else run.names[run.truth[i]],
        ]  # fmt: skip
        assert row[6] == run.names[mean[i].argmax()]
        assert row[7:9] == [run.names[p.probabilities[i].argmax()] for p in run.predictions]
        assert [float(v) for v in row[9:]] == pytest.approx(mean[i])


def test_who_leads_is_whose_hiding_takes_most_from_the_predicted_label():
    full = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    without = {
        "text": np.array([[0.2, 0.8], [0.5, 0.5], [0.95, 0.05]]),
        "audio": np.array([[0.6, 0.4], [0.9, 0.1], [0.9, 0.1]]),
    }
    assert list(leaders(Prediction(0, full, without))) == ["text", "audio", ""]


def test_what_hiding_costs_is_the_difference_of_means(make_run):
    run = make_run(seeds=2)
    found = details.details(run)
    full = found["splits"]["test"]["weighted_f1"]["mean"]
    for row in found["modalities"].values():
        assert row["hidden"]["weighted_f1"] + row["cost"]["weighted_f1"] == pytest.approx(full)
    assert sum(row["led"] for row in found["modalities"].values()) <= found["splits"]["test"]["scored"]
    assert details.details(make_run(modalities=["text"]))["modalities"] == {}


def test_the_most_confidently_wrong_come_first(make_run):
    run = make_run(skill=0.5)
    wrong = details.details(run)["wrong"]
    assert 5 < len(wrong) <= WRONG
    sure = [w["probability"] for w in wrong]
    assert sure == sorted(sure, reverse=True)
    assert all(w["emotion"] != w["predicted"] and w["probability"] >= w["probability_of_true"] for w in wrong)


def test_probabilities_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="seed 4, audio"):
        Prediction(4, np.ones((2, 2)) / 2, {"audio": np.array([[np.nan, 1.0], [0.5, 0.5]])})
