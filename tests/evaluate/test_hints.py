"""The advice about a run in details.json, on the terminal and in the report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluate.run import details, report
from evaluate.run.results import Run
from evaluate.stage import run as evaluate
from tests.train import small
from train.data.corpus import Corpus
from train.fusion.build import read
from train.fusion.hints import hints
from train.stage import run as train


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """60 dialogues, of which 36 are the train split."""
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path, dialogues=60)
    return read(small.params())


def rows(*scores: float) -> list[dict[str, float]]:
    return [{"epoch": i, "lr": 1e-3, "val_weighted_f1": value} for i, value in enumerate(scores, start=1)]


def test_a_best_epoch_that_is_the_last_is_said_with_its_seeds(data: Corpus) -> None:
    params = small.params(train={"epochs": 3, "batch_size": 1})
    history = {0: rows(0.6, 0.8, 0.9), 1: rows(0.6, 0.9, 0.8), 2: rows(0.7, 0.8, 0.9)}
    found = hints(data, params, history)
    assert found[0].startswith("seeds 0, 2: the best epoch is the last of train.epochs=3;")
    stopped = small.params(train={"epochs": 4, "batch_size": 1})
    assert not [hint for hint in hints(data, stopped, history) if "best epoch" in hint]


@pytest.mark.parametrize(
    ("size", "steps"), [(1, ""), (3, ""), (4, "9 optimiser steps"), (40, "1 optimiser step ")]
)
def test_few_steps_are_counted(data: Corpus, size: int, steps: str) -> None:
    assert len(data.labelled_units("train")) == 36
    found = [
        hint
        for hint in hints(data, small.params(train={"batch_size": size}), {0: rows(0.6, 0.9, 0.8)})
        if "step" in hint
    ]
    assert len(found) == bool(steps)
    assert steps in "".join(found)


def test_a_small_val_split_is_said_with_its_standard_error(data: Corpus) -> None:
    count = int(((data.split == "val") & (data.labels.numpy() >= 0)).sum())
    (found,) = hints(data, small.params(train={"batch_size": 1}), {0: rows(0.6, 0.9, 0.8)})
    assert f"only {count} labelled val utterances" in found
    assert f"up to {50 / np.sqrt(count):.1f} points" in found


def test_val_far_above_test_is_said(make_run: Callable[..., Run]) -> None:
    run = make_run(skill=3.0)
    assert details.details(run)["hints"] == []
    first = run.predictions[0]
    wrong = first.probabilities.copy()
    wrong[run.splits == "test"] = np.roll(wrong[run.splits == "test"], 1, axis=1)
    worse = dataclasses.replace(run, predictions=[dataclasses.replace(first, probabilities=wrong)])
    found = details.details(worse)
    (hint,) = found["hints"]
    gap = found["splits"]["val"]["weighted_f1"]["mean"] - found["splits"]["test"]["weighted_f1"]["mean"]
    assert gap > details.FAR
    assert f"{100 * gap:.1f} points above test" in hint


def test_the_report_and_the_last_lines_have_the_hints(
    data: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    params = small.params(train={"epochs": 2, "lr": 1e-2})
    Path("params.yaml").write_text(json.dumps(params.model_dump(mode="json")))
    train()
    said = [
        line.removeprefix("train: hint: ")
        for line in capsys.readouterr().out.splitlines()
        if "hint: " in line
    ]
    assert any("labelled val utterances choose the epoch" in hint for hint in said)
    evaluate()
    last = capsys.readouterr().out.splitlines()[-len(said) :]
    found = json.loads(Path("results/details.json").read_text())["hints"]
    assert found[: len(said)] == said
    assert [f"hint: {hint}" for hint in found][-len(last) :] == last
    page = Path("results/report.html").read_text()
    assert page.count("<b>Hint:</b>") == len(found)
    assert "labelled val utterances choose the epoch" in page


def test_hostile_hints_stay_text(make_run: Callable[..., Run]) -> None:
    run = dataclasses.replace(make_run(), hints=["<script>"])
    assert "&lt;script&gt;" in report.render(run, details.details(run))
