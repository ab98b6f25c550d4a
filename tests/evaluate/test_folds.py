"""Folds, collected: means over folds, sd between them, p over all folds' test dialogues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluate.experiments import folds, tables
from evaluate.experiments.grids import GRIDS
from evaluate.experiments.render import render
from evaluate.run.metrics import METRICS, scores
from pipeline.errors import UserError
from pipeline.settings import read_yaml
from tests.train import small

REPOSITORY = Path(__file__).parents[2]
EMOTIONS = ["joy", "anger", "sadness"]


def result(fold: str, skill: float) -> tuple[dict, pd.DataFrame]:
    """A made-up fold: twelve test utterances of four dialogues, two seeds, and a train row to be left out."""
    rng = np.random.default_rng([int(fold), int(100 * skill)])
    truth = rng.integers(3, size=12)
    seeds = [np.where(rng.random(12) < skill, truth, rng.integers(3, size=12)) for _ in range(2)]
    found = [scores(truth, guess, 3) for guess in seeds]
    test = {
        m: {"mean": float(np.mean([f[m] for f in found])), "sd": 0.1, "seeds": [f[m] for f in found]}
        for m in METRICS
    }
    frame = pd.DataFrame(
        {
            "utterance": [f"s{fold}u{i}" for i in range(12)],
            "split": "test",
            "dialogue": [f"s{fold}d{i // 3}" for i in range(12)],
            "emotion": [EMOTIONS[i] for i in truth],
            "predicted": [EMOTIONS[i] for i in seeds[1]],
            **{f"seed{k}": [EMOTIONS[i] for i in guess] for k, guess in enumerate(seeds)},
        }
    )
    return test, pd.concat([frame, frame.iloc[:1].assign(split="train", utterance="x")], ignore_index=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    small.make(tmp_path)  # four sessions, "0" to "3"
    calls: list[tuple[str, ...]] = []

    def run_dvc(*words, capture=False):
        calls.append(words)
        return "model-all-folds-fold-1\nmain\n" if words[:2] == ("exp", "list") else ""

    monkeypatch.setattr(tables, "run_dvc", run_dvc)
    return calls


def test_one_experiment_is_queued_per_session(project):
    tables.enqueue(folds.planned("model", folds.ALONE, 2))
    queued = [words for words in project if words[:3] == ("exp", "run", "--queue")]
    assert [words[4] for words in queued] == [f"model-all-folds-fold-{f}" for f in range(4)]
    assert queued[1][5:] == ("-S", "++train.seeds=2", "-S", "++train.fold=1")
    assert [words[2] for words in project if words[:2] == ("exp", "remove")] == ["model-all-folds-fold-1"]


def test_a_fine_tuned_stream_is_fitted_to_each_fold(project):
    params = read_yaml(Path("params.yaml"))
    params["finetune"] = {"own": {"encoder": "text"}, "idle": {"encoder": "text"}}
    params["train"]["streams"]["text"] = "own"
    Path("params.yaml").write_text(json.dumps(params))
    tables.enqueue(folds.planned("model", folds.ALONE, 1))
    queued = [words for words in project if words[:3] == ("exp", "run", "--queue")]
    assert [words[8:] for words in queued] == [
        (f"++train.fold={f}", "-S", f"++finetune.own.training.fold={f}") for f in range(4)
    ]


def test_a_grid_queues_its_rows_for_every_session(project):
    tables.enqueue(folds.planned("foalnet", GRIDS["foalnet"], 1))
    queued = [words for words in project if words[:3] == ("exp", "run", "--queue")]
    assert len(queued) == 6 * 4
    assert len({words[4] for words in queued}) == 6 * 4
    assert queued[0][9:11] == ("-S", "model.name=foalnet")
    assert "train.streams.visual=none" in queued[0]


def test_mean_and_sd_are_those_of_the_folds(project, monkeypatch):
    monkeypatch.setattr(folds, "of_head", lambda names, hint: {name: result(name[-1], 0.6) for name in names})
    table = folds.collect("model", folds.ALONE)
    both = "mean, ensemble of 2 seeds"
    assert table["row"].tolist() == ["fold 0", "fold 1", "fold 2", "fold 3", "mean", both]
    for metric in METRICS:
        by_hand = [100 * np.mean(result(str(f), 0.6)[0][metric]["seeds"]) for f in range(4)]
        np.testing.assert_allclose(table[metric][:4], by_hand)
        assert table[metric][4] == pytest.approx(np.mean(by_hand))
        assert table[f"{metric}_sd"][4] == pytest.approx(np.std(by_hand, ddof=1))
        # The made-up ensembles answer as the second seed does.
        together = [100 * result(str(f), 0.6)[0][metric]["seeds"][1] for f in range(4)]
        assert table[metric][5] == pytest.approx(np.mean(together))
        assert table[f"{metric}_sd"][5] == pytest.approx(np.std(together, ddof=1))


def test_the_score_on_val_is_the_mean_of_the_folds():
    runs = {f: result(f, 0.6) for f in "0123"}
    assert "val" not in folds.over_folds("MultiEMO", runs)[0]
    runs = {f: ({**test, "val": {"mean": int(f) / 10}}, frame) for f, (test, frame) in runs.items()}
    val = folds.over_folds("MultiEMO", runs)[0]["val"]
    assert (val["mean"], val["sd"]) == (
        pytest.approx(0.15),
        pytest.approx(np.std([0, 0.1, 0.2, 0.3], ddof=1)),
    )


def test_a_grid_is_compared_over_all_folds_dialogues(project, monkeypatch):
    skill = {row.title: 0.2 if "alone" in row.title else 0.9 for row in GRIDS["foalnet"]}

    def fake(name):
        row = next(r for r in GRIDS["foalnet"] if folds.name_of("foalnet", r, name[-1]) == name)
        return result(name[-1], skill[row.title])

    # The same truth for every row, as the same test sessions have.
    monkeypatch.setattr(
        folds, "of_head", lambda names, hint: {name: same_truth(fake(name), name[-1]) for name in names}
    )
    table = folds.collect("foalnet", GRIDS["foalnet"]).set_index("row")
    assert np.isnan(table.loc["Foal-Net", "p"])
    assert table.loc["audio alone", "p"] < 0.05 < table.loc["fusion + MEM", "p"]
    assert table.loc["Foal-Net", ["published", "chosen_on"]].tolist() == [80.10, "test"]
    assert "published UA of IEMOCAP-4" in render(table.reset_index(), "markdown", "UA of IEMOCAP-4")


def same_truth(found, fold):
    test, frame = found
    other = result(fold, 0.9)[1]
    hit = {c: frame[c] == frame["emotion"] for c in ("seed0", "seed1")}
    wrong = other["emotion"].map(dict(zip(EMOTIONS, [*EMOTIONS[1:], EMOTIONS[0]], strict=True)))
    return test, frame.assign(
        emotion=other["emotion"], **{c: other["emotion"].where(h, wrong) for c, h in hit.items()}
    )


def test_a_corpus_without_sessions_is_refused(project):
    text = pd.read_csv("data/utterances.csv", dtype=str, keep_default_na=False)
    text.assign(session="").to_csv("data/utterances.csv", index=False)
    with pytest.raises(UserError, match="0 sessions"):
        folds.sessions()
