"""Tables of experiments: whose numbers, which test, and what is said where an experiment is missing."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc.exceptions import DvcException

from evaluate.experiments import tables
from evaluate.experiments.answers import OneLabel
from evaluate.experiments.paired import paired_bootstrap
from evaluate.experiments.render import render
from evaluate.run import details
from evaluate.run.measures import measure_of
from evaluate.run.metrics import METRICS
from pipeline import params
from pipeline.errors import UserError
from tests.evaluate.targets import run_of


@pytest.fixture
def results(make_run, monkeypatch):
    """`dvc.api.read` over made-up experiments: {revision: (details.json, predictions.csv)}."""
    made = {}
    runs = {"weak": (1, 0.5), "strong": (3, 2.5), "HEAD": (1, 2.5), "_a & b%": (2, 1.0)}
    for name, (seeds, skill) in runs.items():
        run = make_run(seeds=seeds, skill=skill, parts=("train", "val") + ("test",) * 30)
        made[name] = {
            "results/details.json": json.dumps(details.details(run)),
            "results/predictions.csv": details.predictions_table(run).to_csv(index=False),
        }
    made[None] = made["HEAD"]

    def read(path, rev, encoding):
        if rev not in made:
            raise DvcException(f"unknown Git revision '{rev}'")
        return made[rev][path]

    monkeypatch.setattr("dvc.api.read", read)
    monkeypatch.setattr(tables, "listed", lambda: list(made))
    monkeypatch.setattr(tables, "cost", lambda name: {"seconds": 12.34, "parameters": 5678.0})
    return made


def run(monkeypatch, capsys, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["tables", *words])
    tables.main()
    return capsys.readouterr().out


def test_a_row_is_what_the_experiment_says_of_itself(results):
    table = tables.compare(["strong", "weak"], "strong").set_index("row")
    for name in ("strong", "weak"):
        test = json.loads(results[name]["results/details.json"])["splits"]["test"]
        for metric in METRICS:
            assert table.loc[name, metric] == 100 * test[metric]["mean"]
    assert table["seeds"].to_dict() == {"strong": 3, "strong, ensemble of 3 seeds": 1, "weak": 1}
    assert table.loc["strong", "weighted_f1_sd"] > 0
    assert np.isnan(table.loc["weak", "weighted_f1_sd"])
    assert np.isnan(table.loc["strong", "p"])
    assert table.loc["weak", "p"] < 0.01


def test_the_score_on_val_is_that_of_the_chosen_epochs(results, monkeypatch, capsys):
    table = tables.compare(["strong", "weak"], "strong").set_index("row")
    val = json.loads(results["strong"]["results/details.json"])["splits"]["val"]["weighted_f1"]
    seeds = 100 * np.array(val["seeds"])
    assert table.loc["strong", "val_weighted_f1"] == pytest.approx(seeds.mean())
    assert table.loc["strong", "val_weighted_f1_sd"] == pytest.approx(seeds.std(ddof=1))
    assert np.isnan(table.loc["weak", "val_weighted_f1_sd"])
    assert np.isnan(table.loc["strong, ensemble of 3 seeds", "val_weighted_f1"])
    lines = run(monkeypatch, capsys, "compare", "strong", "weak").splitlines()
    cells = [line[2:-2].split(" | ") for line in (lines[0], lines[2], lines[3])]
    place = cells[0].index("val weighted F1")
    assert cells[0][place + 1] == "p"
    assert cells[1][place] == f"{seeds.mean():.2f} ± {seeds.std(ddof=1):.2f}"
    assert cells[2][place] == ""
    older = render(table.drop(columns=["val_weighted_f1", "val_weighted_f1_sd"]).reset_index(), "markdown")
    assert older.splitlines()[0] == "|  | weighted F1 | macro F1 | WA | UA | p |"


def test_without_a_label_on_val_there_is_no_score_on_val(results, monkeypatch, capsys):
    found = json.loads(results["HEAD"]["results/details.json"])
    found["splits"]["val"] = {"dialogues": 2, "utterances": 9, "scored": 0}
    results["HEAD"]["results/details.json"] = json.dumps(found)
    assert "val" not in run(monkeypatch, capsys, "compare", "HEAD").splitlines()[0]


def test_no_difference_is_no_evidence(results):
    table = tables.compare(["HEAD", "workspace"], "HEAD").set_index("row")
    assert table.loc["workspace", "p"] == 1.0


def test_the_paired_bootstrap_is_calibrated():
    """Two equally good sets of answers: p below .1 in about one of ten draws."""
    rng, low = np.random.default_rng(1), 0
    for _ in range(60):
        truth = rng.integers(3, size=240)
        frames = []
        for _ in range(2):
            guess = np.where(rng.random(240) < 0.6, truth, rng.integers(3, size=240))
            frames.append(
                pd.DataFrame(
                    {
                        "utterance": range(240), "split": "test", "dialogue": np.arange(240) // 6,
                        "emotion": truth.astype(str), "seed0": guess.astype(str),
                    }
                )
            )  # fmt: skip
        low += paired_bootstrap(*map(OneLabel, frames), resamples=400) < 0.1
    assert 1 <= low <= 15


def test_experiments_on_other_utterances_are_not_compared(results, make_run):
    other = make_run(parts=("train", "test", "test"))
    results["other"] = {
        "results/details.json": json.dumps(details.details(other)),
        "results/predictions.csv": details.predictions_table(other).to_csv(index=False),
    }
    with pytest.raises(UserError, match="not scored on the same test utterances"):
        tables.compare(["HEAD", "other"], "HEAD")
    unlabelled = make_run(unlabelled=1.0)
    results["unlabelled"] = {
        **results["other"],
        "results/details.json": json.dumps(details.details(unlabelled)),
    }
    with pytest.raises(UserError, match=r"experiment unlabelled: no test utterance has a label"):
        tables.compare(["HEAD", "unlabelled"], "HEAD")


def test_compare_prints_every_form(results, monkeypatch, capsys):
    words = ("compare", "HEAD", "_a & b%", "--against", "strong")
    lines = run(monkeypatch, capsys, *words).splitlines()
    assert lines[0] == "|  | weighted F1 | macro F1 | WA | UA | val weighted F1 | p |"
    rows = ["HEAD", "_a & b%", "_a & b%, ensemble of 2 seeds", "strong", "strong, ensemble of 3 seeds"]
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {row}" for row in rows]
    assert [line.endswith("|  |") for line in lines[2:]] == [False, False, False, True, False]
    latex = run(monkeypatch, capsys, *words, "--format", "latex")
    assert r"\_a \& b\% & " in latex
    assert latex.count("&") == latex.count(r"\&") + (1 + len(rows)) * 6
    plain = list(csv.DictReader(io.StringIO(run(monkeypatch, capsys, *words, "--format", "csv"))))
    test = json.loads(results["HEAD"]["results/details.json"])["splits"]["test"]
    assert float(plain[0]["weighted_f1"]) == 100 * test["weighted_f1"]["mean"]


def test_the_first_is_what_the_others_are_compared_with(results, monkeypatch, capsys):
    lines = run(monkeypatch, capsys, "compare", "strong", "weak").splitlines()
    assert lines[2].endswith("|  |")
    assert not lines[4].endswith("|  |")


def test_an_experiment_that_is_not_there_is_named(results):
    with pytest.raises(
        UserError, match=r"experiment gone: no results .*unknown Git revision.*`dvc exp list`"
    ):
        tables.compare(["HEAD", "gone"], "HEAD")
    with pytest.raises(
        UserError,
        match=r"experiment baselines-majority: no results .*HEAD.*tables run baselines.* compare ",
    ):
        tables.collect("baselines")


@pytest.mark.parametrize("grid", ["baselines", "fusion", "modalities", "settings"])
def test_a_grid_has_published_figures_where_there_are_any(results, monkeypatch, grid):
    for row in tables.GRIDS[grid]:
        results[tables.experiment(grid, row)] = results["weak"]
    monkeypatch.setattr(tables, "load", lambda: params.load(Path("presets/meld.yaml")))
    table = tables.collect(grid).set_index("row")
    assert list(table.index) == [row.title for row in tables.GRIDS[grid]]
    known = {row.title: row.published for row in tables.GRIDS[grid] if row.published}
    assert table.loc[list(known), "published"].notna().all()
    names = [tables.experiment(grid, row) for row in tables.GRIDS[grid]]
    assert len(set(names)) == len(names)
    if grid == "baselines":
        assert table.loc["BC-LSTM", "published"] == 55.9


def test_the_papers_table_has_every_column_and_says_what_was_not_run(results, monkeypatch, capsys):
    grid = tables.GRIDS["baselines"]
    for row in grid:
        if not row.cited:
            results[tables.experiment("baselines", row)] = results["strong"]
    monkeypatch.setattr(tables, "load", lambda: params.load(Path("presets/meld.yaml")))
    details = json.loads(results["strong"]["results/details.json"])
    labels = details["labels"]
    head, _, *lines = run(monkeypatch, capsys, "show", "baselines").splitlines()
    columns = ["published weighted F1", "its epoch chosen on", "weighted F1", "macro F1", "WA", "UA"]
    columns += [*(f"F1 {label}" for label in labels), "val weighted F1", "p", "training s", "parameters"]
    assert head == "|  | " + " | ".join(columns) + " |"
    table = {line.split(" | ")[0][2:]: line[2:-2].split(" | ") for line in lines}
    both = [[row.title] if row.cited else [row.title, f"{row.title}, ensemble of 3 seeds"] for row in grid]
    assert list(table) == [title for titles in both for title in titles]
    assert all(len(cells) == 1 + len(columns) for cells in table.values())
    full = dict(zip(columns, table["MultiEMO"][1:], strict=True))
    test = details["splits"]["test"]
    assert full["published weighted F1"] == "66.74"
    assert full["its epoch chosen on"] == "test"
    for label in labels:
        assert full[f"F1 {label}"] == f"{100 * test['labels'][label]['f1']:.2f}"
    assert (full["training s"], full["parameters"]) == ("12.3", "5,678")
    cited = dict(zip(columns, table["UniMSE"][1:], strict=True))
    assert cited["published weighted F1"] == "65.51"
    assert cited["val weighted F1"] == ""
    assert cited["weighted F1"].startswith("not run: cited only, because it trains T5")
    assert (cited["its epoch chosen on"], cited["p"], cited["parameters"]) == ("", "", "")
    latex = run(monkeypatch, capsys, "show", "baselines", "--format", "latex")
    assert latex.count("\\\\\n") == 1 + len(table)
    plain = list(
        csv.DictReader(io.StringIO(run(monkeypatch, capsys, "show", "baselines", "--format", "csv")))
    )
    assert {row["row"]: row["not_run"] for row in plain if row["not_run"]} == {
        row.title: row.cited for row in grid if row.cited
    }
    assert [float(row["seconds"]) if row["seconds"] else None for row in plain[-2:]] == [12.34, None]
    assert plain[-1]["published"] == ""
    planned = tables.planned("baselines", 3)
    assert "baselines-unimse" not in planned
    # A solver's seeds are equal, so it is run once.
    once = {name for name, changes in planned.items() if changes[-1] == "++train.seeds=1"}
    solved = {"majority", "logistic-regression", "logistic-regression-3-turns"}
    assert once == {f"baselines-{name}" for name in solved}
    assert "baselines-after-iterativeerc-reduction" in planned


@pytest.mark.parametrize("kind", ["soft", "multi", "values"])
def test_a_table_has_the_scores_of_its_target(kind, results, monkeypatch, capsys):
    made = run_of(kind)
    found = details.details(made)
    results["theirs"] = {
        "results/details.json": json.dumps(found),
        "results/predictions.csv": details.predictions_table(made).to_csv(index=False),
    }
    table = tables.compare(["theirs"], "theirs").set_index("row")
    test = found["splits"]["test"]
    main = measure_of(made).metrics[0]
    assert table.loc["theirs", main] == (1 if kind == "values" else 100) * test[main]["mean"]
    assert list(table.index) == ["theirs", "theirs, ensemble of 2 seeds"]
    assert np.isfinite(table.iloc[1][main])
    text = run(monkeypatch, capsys, "compare", "theirs")
    heads = {"soft": "KL (nats)", "multi": "mean AP", "values": "Pearson r"}
    scored = {"soft": "val weighted F1", "multi": "val macro F1", "values": "val CCC"}
    val = found["splits"]["val"][main]["mean"]
    assert f"| {f'{val:.3f}' if kind == 'values' else f'{100 * val:.2f}'} ± " in text
    assert f" | {scored[kind]} | p |" in text
    assert heads[kind] in text
    assert ("weighted F1" in text) == (kind == "soft")
