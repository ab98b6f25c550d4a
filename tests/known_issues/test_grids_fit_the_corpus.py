"""A grid on two modalities had rows that could not run, rows that were the same run, and one failure hid the rest."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from dvc.utils.hydra import apply_overrides

from evaluate.experiments import folds, tables
from evaluate.experiments.grids import GRIDS, experiment, left_out, rows
from evaluate.run.metrics import METRICS
from pipeline.errors import UserError
from pipeline.params import load
from tests.clone import edit, run, shell
from tests.known_issues import test_imports_alone as alone

STREAMS = "streams: {text: text, audio: opensmile, visual: face}"
NO_FACE = "streams: {text: text, audio: opensmile, visual: none}"
TEXT = "streams: {text: text, audio: none, visual: none}"
ANSWERS = pd.DataFrame(
    {"utterance": ["u"], "split": "test", "dialogue": "d", "emotion": "joy", "seed0": "joy"}
)
FOUND = ({metric: {"mean": 0.5, "sd": None, "seeds": [0.5]} for metric in METRICS}, ANSWERS)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with the built-in corpus's params.yaml."""
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


def titles(grid: str) -> list[str]:
    return [row.title for row in rows(grid, load())]


@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_three_modalities_have_every_row(settings: Path, grid: str) -> None:
    assert titles(grid) == [row.title for row in GRIDS[grid] if not row.cited]


def test_two_modalities_have_their_rows_once(settings: Path) -> None:
    edit(settings, STREAMS, NO_FACE)
    assert titles("modalities") == ["logistic regression", "text", "audio", "text+audio"]
    assert "MultiEMO w/o visual" not in titles("fusion")
    assert titles("foalnet") == ["Foal-Net"]
    left = left_out("fusion", load())
    assert left == {"MultiEMO w/o visual": "with these params it is the same run as another row"}
    assert left_out("modalities", load())["visual"] == "params.yaml has no stream for visual"


def test_one_modality_is_not_dropped(settings: Path) -> None:
    edit(settings, STREAMS, TEXT)
    assert titles("modalities") == ["logistic regression", "text"]


def test_a_row_that_params_make_the_full_model_is_left_out(settings: Path) -> None:
    edit(settings, "mu1: 0.3", "mu1: 0")
    assert "MultiEMO w/o SWFC" not in titles("fusion")
    assert titles("fusion")[-1] == "MultiEMO"


def test_a_failed_row_is_a_row_with_its_reason(
    settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(settings, STREAMS, NO_FACE)
    there = [experiment("modalities", row) for row in rows("modalities", load())]
    there.remove("modalities-audio")
    monkeypatch.setattr(tables, "listed", lambda: there)
    monkeypatch.setattr(tables, "results", lambda name, hint: FOUND)
    monkeypatch.setattr(tables, "_said", lambda name: "no | feature")
    monkeypatch.setattr(tables, "cost", lambda name: {"seconds": float("nan"), "parameters": float("nan")})
    monkeypatch.setattr(sys, "argv", ["tables", "show", "modalities"])
    with pytest.raises(UserError, match="rows without a result: 1"):
        tables.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[4] == r"| audio | no result: no \| feature |  |  |  |  |"
    assert lines[5] == "| visual | not run: params.yaml has no stream for visual |  |  |  |  |"
    assert [line.count("50.00") for line in lines[2:]] == [4, 4, 0, 0, 4, 0, 0, 0]


def test_a_row_without_one_of_its_folds_says_which() -> None:
    found = folds.over_folds("text", {"1": FOUND, "2": tables.Failed("no memory")})
    assert found == tables.Failed("fold 2: no memory")


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_reason_is_what_the_queued_run_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = alone.project_with_arrays(tmp_path)
    for line in alone.section()[:5]:
        shell(project, line.replace("/path/to/bert", str(tmp_path / "bert")))
    for name, change in (("good", "train.seed=1"), ("bad", "train.fold=nowhere")):
        run(project, "dvc", "exp", "run", "--queue", "-n", name, "-S", change)
    run(project, "dvc", "exp", "run", "--run-all")
    monkeypatch.chdir(project)
    found = tables.of_head(["good", "bad"], "")
    assert not isinstance(found["good"], tables.Failed)
    assert isinstance(found["bad"], tables.Failed)
    assert "nowhere" in found["bad"].reason
    assert json.loads(Path("results/metrics.json").read_text())


def test_a_grid_runs_on_a_preset_that_leaves_seeds_at_its_default(settings: Path) -> None:
    """`make folds` on EmoDB's preset ended with "Could not override 'train.seeds'"."""
    shutil.copy(Path(__file__).parents[2] / "presets/emodb.yaml", settings)
    apply_overrides(settings, list(tables.planned("baselines", 2)["baselines-lmf"]))
    assert load().train.seeds == 2
