"""Missing modalities at test: what each row hides, its scores, and the comparison of two runs."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from evaluate.experiments import missing
from evaluate.inference import hide, probabilities
from evaluate.run.load import trained
from pipeline.errors import UserError
from pipeline.params import load
from tests.train import small
from train.fusion.build import read
from train.stage import run as train

SUBSETS = ["text+audio+visual", "text+audio", "text+visual", "audio+visual", "text", "audio", "visual"]
RATES = [f"each missing at {rate}" for rate in (0.1, 0.2, 0.3, 0.4, 0.5)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two seeds of a model of dialogues."""
    root = tmp_path_factory.mktemp("missing")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("EMOFUSE_DEVICE", "cpu")
        small.make(root, dialogues=40)
        small.add_frames(root)
        write(root, seeds=2)
        train()
    return root


@pytest.fixture
def here(project, tmp_path, monkeypatch):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    return tmp_path


def write(root: Path, name: str = "bclstm", **knobs: object) -> None:
    params = small.params(train={"epochs": 5, "lr": 1e-2, **knobs}, model={"name": name})
    (root / "params.yaml").write_text(params.model_dump_json())


def command(monkeypatch, capsys, *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["missing", *words])
    missing.main()
    return capsys.readouterr().out.splitlines()


def test_a_subset_is_the_mean_over_seeds_without_the_others(here):
    run = missing.measure(load())
    assert [row.title for row in run.rows] == [*SUBSETS, *RATES]
    params = load()
    data = read(params)
    truth = data.labels.numpy()
    rows = np.flatnonzero((data.split == "test") & (truth >= 0))
    assert run.utterances == len(rows)
    found = []
    for _, _, model in trained(params, data):
        guess = probabilities(model, data, "cpu", lambda batch: hide(hide(batch, "text"), "visual")).argmax(1)
        found.append(f1_score(truth[rows], guess[rows], average="weighted"))
    by_title = {row.title: row for row in run.rows}
    assert len(found) == 2
    assert by_title["audio"].weighted_f1.mean == pytest.approx(np.mean(found))
    for row in run.rows:
        for score in (row.weighted_f1, row.macro_f1, row.accuracy, row.unweighted_accuracy):
            assert 0 <= score.low <= score.mean <= score.high <= 1
    whole, half = by_title["text+audio+visual"], by_title["each missing at 0.5"]
    assert whole.lost == 0
    assert whole.weighted_f1.mean > half.weighted_f1.mean


def test_what_is_lost_is_what_is_said(here):
    run = missing.measure(load())
    data = read(load())
    test = data.split == "test"
    there = {m: int((present.numpy() & test).sum()) for m, present in data.present.items()}
    lost = {row.title: row.lost for row in run.rows}
    assert lost["text"] == pytest.approx(1 - there["text"] / sum(there.values()))
    shares = [lost[title] for title in RATES]
    assert shares == sorted(shares)
    # Never all that a turn has: less than the rate, the more so the higher it is.
    for rate, share in zip(missing.RATES, shares, strict=True):
        assert 0.6 * rate < share < rate


def test_the_draws_are_the_same_every_time_and_apart_from_each_other(here):
    first, second = missing.measure(load()), missing.measure(load())
    assert first == second
    data = read(load())
    some = missing.conditions(list(data.dims), len(data.labels))[-1]
    batch = data.batch(data.units("test"))
    kept = [change(batch).present["audio"] for change in some.changes]
    assert len(kept) == missing.DRAWS
    assert len({tuple(x.flatten().tolist()) for x in kept}) == missing.DRAWS
    # A dialogue loses the same turns, whatever is in its batch.
    unit = data.units("test")[-1]
    alone = some.changes[0](data.batch([unit])).present["audio"][0]
    assert alone.tolist() == kept[0][-1, : len(alone)].tolist()


def test_two_runs_stand_side_by_side(here, monkeypatch, capsys):
    lines = command(monkeypatch, capsys, "--json", "without.json")
    assert lines[0] == "| at test | lost | bclstm, modality dropout 0 | 95% interval |"
    assert len(lines) == 2 + len(SUBSETS) + len(RATES)
    write(here, seeds=1, modality_dropout=0.5)
    train()
    capsys.readouterr()
    both = command(monkeypatch, capsys, "--beside", "without.json")
    assert both[0].startswith(
        "| at test | lost | bclstm, modality dropout 0.5 | 95% interval | bclstm, modality dropout 0 |"
    )
    for old, new in zip(lines[2:], both[2:], strict=True):
        assert new.endswith(old.split("|", 3)[3])
    there = missing.other(Path("without.json"), missing.measure(load()))
    assert missing.render(there).splitlines() == lines
    plain = csv.reader(command(monkeypatch, capsys, "--beside", "without.json", "--format", "csv"))
    cells = [line.strip("| ").split(" | ") for line in both]
    assert list(plain) == [cells[0], *cells[2:]]


@pytest.mark.parametrize("name", ["foalnet", "logreg"])
def test_models_of_frames_and_of_a_solver_are_measured_too(here, name):
    write(here, name, epochs=1, modality_dropout=0.3)
    train()
    run = missing.measure(load())
    assert [row.title for row in run.rows] == (
        [*SUBSETS, *RATES] if name == "logreg" else ["audio+visual", "audio", "visual", *RATES]
    )


def test_what_cannot_be_measured_is_said(here, monkeypatch, capsys):
    write(here, seeds=2)
    command(monkeypatch, capsys, "--json", "without.json")
    raw = json.loads(Path("without.json").read_text())
    Path("other.json").write_text(json.dumps({**raw, "utterances": 3}))
    with pytest.raises(
        UserError, match=r"other\.json: measured on 3 test utterances with text\+audio\+visual, the models"
    ):
        command(monkeypatch, capsys, "--beside", "other.json")
    Path("other.json").write_text(json.dumps({**raw, "rows": [{"title": "x"}]}))
    with pytest.raises(UserError, match=r"other\.json: rows\.0\.lost: missing"):
        command(monkeypatch, capsys, "--beside", "other.json")
    with pytest.raises(UserError, match=r"nowhere\.json: no such file"):
        command(monkeypatch, capsys, "--beside", "nowhere.json")
    write(here, seeds=3)
    with pytest.raises(UserError, match=r"model\.json: trained with train\.seeds=2"):
        missing.measure(load())
    write(here, streams={"text": "words", "audio": "none", "visual": "none"})
    with pytest.raises(
        UserError, match=r"model\.name=bclstm reads text only; missing modalities need at least two"
    ):
        missing.measure(load())
    write(here, seeds=2)
    table = pd.read_csv("data/labels.csv")
    table.loc[table["split"] == "test", "emotion"] = ""
    table.to_csv("data/labels.csv", index=False)
    with pytest.raises(UserError, match="no test utterance has a label"):
        missing.measure(load())
