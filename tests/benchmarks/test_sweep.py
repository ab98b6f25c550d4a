from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import sweep
from tests.train import small

SETTINGS = ["as they are", "lr 0.003", "logistic regression"]


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, seeds: int) -> pd.DataFrame:
    words = ["sweep", *(str(folder / name) for name in "ab"), "--rows", str(folder / "rows.csv")]
    words += ["--csv", str(folder / "table.csv"), "--seeds", str(seeds), "--settings", *SETTINGS]
    monkeypatch.setattr(sys, "argv", words)
    sweep.main()
    return pd.read_csv(folder / "rows.csv")


def test_a_sweep_goes_on_and_never_reads_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate("ab"):
        small.make(tmp_path / name, seed=seed)
        params = small.params(train={"epochs": 2}).model_dump_json()
        (tmp_path / name / "params.yaml").write_text(params)
    first = run(monkeypatch, tmp_path, 1)
    assert len(first) == 6
    more = run(monkeypatch, tmp_path, 2)
    assert len(more) == 12
    pd.testing.assert_frame_equal(more[:6], first)
    for name in "ab":  # other test labels: the same scores
        labels = pd.read_csv(tmp_path / name / "data/labels.csv")
        labels.loc[labels["split"] == "test", "emotion"] = "joy"
        labels.to_csv(tmp_path / name / "data/labels.csv", index=False)
    (tmp_path / "rows.csv").unlink()
    again = run(monkeypatch, tmp_path, 2).sort_values(["setting", "project", "seed"], ignore_index=True)
    before = more.sort_values(["setting", "project", "seed"], ignore_index=True)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), before.drop(columns="seconds"))
    table = pd.read_csv(tmp_path / "table.csv").set_index("setting")
    means = 100 * more.groupby(["setting", "project"])["val_weighted_f1"].mean()
    assert table.loc["lr 0.003", "a"] == pytest.approx(means["lr 0.003", "a"], abs=0.06)
    assert table.loc["as they are", "difference"] == 0
    assert table.loc["as they are", "better on"] == "0 of 2"
    part = sweep.table(
        more[(more["setting"] != "lr 0.003") | (more["project"] == "b")], ["a", "b"]
    ).set_index("setting")
    assert part.loc["lr 0.003", "a"] == "not run"
    assert part.loc["lr 0.003", "better on"] in ("0 of 1", "1 of 1")
    assert part.loc["as they are", "a"] == f"{table.loc['as they are', 'a']:.1f}"
    assert "lr 0.003" in capsys.readouterr().out


def test_every_setting_is_valid_and_changes_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(small.params(model={"layers": 1}).model_dump_json())
    found = {name: sweep.changed(changes).model_dump_json() for name, changes in sweep.SETTINGS.items()}
    assert len(set(found.values())) == len(found)
