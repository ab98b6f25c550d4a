"""From what training left to a run: every seed answers, the oracle on request alone, and what does not fit is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from evaluate.run import details, plots, report
from evaluate.run.load import load_run
from pipeline.errors import UserError
from pipeline.params import load
from tests.train import small
from tests.train.models_on_disk import seal
from train.stage import run as train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds with every epoch kept."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        small.make(root)
        knobs = {"epochs": 3, "lr": 1e-2, "seeds": 2, "keep_epochs": True}
        write(root, small.params(train=knobs).model_dump(mode="json"))
        train()
    return root


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(root: Path, raw: dict) -> None:
    (root / "params.yaml").write_text(json.dumps(raw))


def edit(root: Path, section: str, **values: object) -> None:
    raw = json.loads((root / "params.yaml").read_text())
    raw[section] |= values
    write(root, raw)


def test_every_seed_answers_for_every_utterance(here):
    run = load_run(load())
    assert [p.seed for p in run.predictions] == [0, 1]
    for p in run.predictions:
        assert p.probabilities.shape == (len(run.utterances), 3)
        assert set(p.without) == {"text", "audio", "visual"}
    shown, other = run.predictions
    assert [len(w) for w in shown.attention["text", "audio"]] == [len(g) for g in run.test_dialogues()]
    assert other.attention is None
    assert {seed: len(h) for seed, h in run.history.items()} == {0: 3, 1: 3}
    assert [(s.name, s.modality) for s in run.streams] == [(small.STREAM[m], m) for m in small.DIMS]
    assert run.oracle == []
    assert "oracle_test" not in details.short(details.details(run), run.params)


def test_the_chosen_epoch_is_what_answers(here):
    """`train` and `evaluate` agree on the score by which the epoch was chosen."""
    run = load_run(load())
    truth = run.truth
    rows = (run.splits == "val") & (truth >= 0)
    for p in run.predictions:
        score = f1_score(truth[rows], p.probabilities[rows].argmax(1), average="weighted", zero_division=0)
        row = run.history[p.seed].iloc[run.best_epoch[p.seed] - 1]
        assert score == pytest.approx(row["val_weighted_f1"], abs=1e-9)


def test_the_oracle_is_the_epoch_that_test_likes_best(here):
    edit(here, "evaluate", oracle_test=True)
    run = load_run(load())
    truth = run.truth
    rows = (run.splits == "test") & (truth >= 0)

    def score(p):
        return f1_score(truth[rows], p.probabilities[rows].argmax(1), average="weighted", zero_division=0)

    for seed, (chosen, oracle) in enumerate(zip(run.predictions, run.oracle, strict=True)):
        assert oracle.seed == seed
        assert score(oracle) >= score(chosen)
    # Each epoch in the chosen one's place: the best of them is the oracle.
    edit(here, "evaluate", oracle_test=False)
    best = []
    for epoch in range(1, 4):
        shutil.copy(f"models/seed0/epochs/{epoch}.safetensors", "models/seed0/model.safetensors")
        seal(Path("models/seed0"), json.loads(Path("models/seed0/model.json").read_text()))
        best.append(score(load_run(load()).predictions[0]))
    assert score(run.oracle[0]) == max(best)
    table = details.short(details.details(run), run.params)
    assert table["oracle_test"]["weighted_f1"] == pytest.approx(np.mean([score(p) for p in run.oracle]))
    assert table["oracle_test"]["weighted_f1"] >= table["test"]["weighted_f1"]


def test_an_oracle_without_epochs_says_how_to_keep_them(here):
    edit(here, "evaluate", oracle_test=True)
    shutil.rmtree("models/seed1/epochs")
    with pytest.raises(
        UserError, match=r"models/seed1/epochs: no epochs found; train again with train.keep_epochs"
    ):
        load_run(load())


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("loss", {"mu1": 0.25}, r"model.json: trained with loss.mu1=0.3, but params.yaml has 0.25"),
        ("train", {"lr": 0.5}, r"trained with train.lr=0.01, but params.yaml has 0.5"),
        ("corpus", {"labels": ["anger", "joy", "neutral"]}, r"trained for the labels joy, anger, neutral, but corpus"),
    ],
)  # fmt: skip
def test_a_model_of_other_params_is_refused(here, section, values, said):
    edit(here, section, **values)
    with pytest.raises(UserError, match=said):
        load_run(load())


def test_a_model_of_other_features_is_refused(here):
    names = list(pd.read_csv("data/utterances.csv")["utterance"])
    x = np.random.default_rng(0).normal(size=(len(names), 9)).astype(np.float32)
    small.cache(here, "audio", names, x, np.ones(len(names), bool))
    with pytest.raises(
        UserError,
        match=r"seed0/model.json: trained on features of .*audio 7.* the feature files have .*audio 9",
    ):
        load_run(load())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", b"half", r"model.safetensors: damaged .*`dvc repro --force train`"),
        ("model.safetensors", None, r"model.safetensors: no such file"),
        ("model.json", None, r"models/seed1/model.json: no such file; run `dvc repro train` to make it"),
        ("model.json", b"{", r"model.json: damaged"),
        ("model.json", b'{"schema": 99}', r"model.json: schema=99, but this version reads 2"),
        ("history.csv", None, r"history.csv: missing or damaged"),
        ("history.csv", b"", r"history.csv: missing or damaged"),
    ],
)
def test_a_file_that_is_damaged_or_missing_is_named(here, name, content, said):
    path = here / "models/seed1" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_run(load())


@pytest.mark.parametrize("name", ["majority", "logreg", "bclstm", "dialoguernn"])
def test_a_baseline_is_scored_and_shown_like_any_model(here, name):
    shutil.rmtree("models")
    write(here, small.params(train={"epochs": 1}, model={"name": name}).model_dump(mode="json"))
    train()
    run = load_run(load())
    found = details.details(run)
    assert 0 <= found["splits"]["test"]["weighted_f1"]["mean"] <= 1
    assert {"train_loss", "train_ce", "val_ce"} <= set(plots.tables(run, found)["loss"])
    assert plots.tables(run, found)["attention_by_pair"].empty
    assert f"<title>{name} on small" in report.render(run, found)
    if name == "logreg":
        test = found["splits"]["test"]
        assert found["logistic_regression"] == {m: test[m]["mean"] for m in found["logistic_regression"]}
    if name == "majority":
        assert found["splits"]["test"]["unweighted_accuracy"]["mean"] == pytest.approx(1 / 3)
        assert all(row["cost"]["weighted_f1"] == 0 for row in found["modalities"].values())
