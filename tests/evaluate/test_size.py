"""Runs of any size: what people look at stays small, and says what it leaves out."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from evaluate.bars import TOP, bar, top
from evaluate.run import details, figures, load, plots, report, shown
from evaluate.run.metrics import MATRIX
from tests.evaluate.test_report import Page

LIMIT = 10 << 20


def written(run, folder) -> tuple[Page, str]:
    """All files of a run; the page, parsed, and its words."""
    found = details.details(run)
    details.write(run, found, folder)
    plots.write(run, found, folder / "plots")
    figures.write(run, found, folder / "plots")
    return looked_at(report.render(run, found))


def looked_at(text: str) -> tuple[Page, str]:
    assert len(text.encode()) <= LIMIT
    page = Page(text)
    ids = {e["id"] for e in page.elements if e.get("id")}
    for link in page.all("a"):
        assert link.get("href", "#dialogues")[1:] in ids | {""}, "no link leads nowhere"
    return page, " ".join(e["own"] for e in page.elements if e["tag"] not in ("script", "style"))


def shown_turns(page: Page) -> list[dict]:
    return [e for e in page.all("li") if e.get("class", "").startswith("turn")]


@pytest.mark.slow
def test_a_dialogue_of_8000_turns(make_run, tmp_path):
    run = make_run(parts=("test",), turns=8000)
    page, words = written(run, tmp_path)
    turns = shown_turns(page)
    assert 500 < len(turns) < 8000
    assert f"The page shows the first {len(turns)} of 8000 turns, in 1 of 1 dialogues, to limit" in words
    assert f"8000 turns, the first {len(turns)} shown" in words
    assert "The attention map of this dialogue is left out" in words
    assert not page.all("details", class_="attention")
    rows = (tmp_path / "predictions.csv").read_text().count("\n")
    assert rows == 8_001
    # Neither a picture nor a table of attention: nothing was kept of it.
    assert "attention.svg" not in {path.name for path in (tmp_path / "plots").iterdir()}
    assert (tmp_path / "plots/attention.csv").read_text() == "offset\n"


def test_text_that_grows_when_it_is_escaped(make_run):
    run = make_run(parts=("test",), turns=8000, lines=('<<&"' * 1000,))
    page, words = looked_at(report.render(run, details.details(run)))
    turns = shown_turns(page)
    assert 50 < len(turns) < 8000
    assert f"The page shows the first {len(turns)} of 8000 turns" in words


def test_2000_turns_are_shown_whole(make_run):
    run = make_run(parts=("test",), turns=2000)
    page, words = looked_at(report.render(run, details.details(run)))
    assert len(shown_turns(page)) == 2000
    assert "The page shows the first" not in words


@pytest.mark.slow
def test_long_dialogues_beside_short_ones(make_run):
    run = make_run(parts=("test",) * 40, turns=100)
    page, words = looked_at(report.render(run, details.details(run)))
    maps = page.data()["attention"][0]["maps"]
    there = [weights is not None for weights in maps]
    # 25 maps of 100 × 100 are all that is kept.
    assert there == [True] * 25 + [False] * (len(there) - 25)
    assert len(page.all("details", class_="attention")) == 25
    assert words.count("The attention map of this dialogue is left out") == len(there) - 25


def test_whose_attention_is_kept():
    assert load.looked_at([3, 201, 200]) == [True, False, True]
    assert load.looked_at([200] * 8) == [True] * 6 + [False] * 2
    assert load.looked_at([200] * 6 + [150, 100]) == [True] * 6 + [False, True]


@pytest.mark.slow
def test_10000_labels(make_run, tmp_path):
    names = [f"label {i}" for i in range(10_000)]
    run = make_run(emotions=names, skill=9.0, seeds=2)
    page, words = written(run, tmp_path)
    found = json.loads((tmp_path / "details.json").read_text())
    first = found["seeds"][0]["splits"]["test"]
    assert first["confusion"] is None
    assert len(first["labels"]) == 10_000
    assert found["splits"]["test"]["weighted_f1"]["low"] <= found["splits"]["test"]["weighted_f1"]["mean"]
    assert "The confusion matrix is left out, because 10000 labels are too many" in words
    assert f"The {MATRIX} most frequent of 10000 labels" in words
    assert len(page.all("td", class_="gauge")) == MATRIX
    # A turn has its most probable labels, by their numbers.
    data = page.data()
    p = run.first.probabilities
    for row, numbers in data["kept"].items():
        assert len(numbers) == TOP
        assert p[int(row)].argmax() in numbers
        assert (
            data["turns"][row][0] == np.rint(1000 * p[int(row), numbers].astype(float)).astype(int).tolist()
        )
    assert {path.name for path in (tmp_path / "plots").iterdir() if "confusion" in path.name} == {
        "confusion.csv"
    }


def test_up_to_20_labels_are_shown_as_they_are(make_run):
    run = make_run(emotions=[f"l{i}" for i in range(20)])
    p = run.first.probabilities[0]
    assert top(p) == list(range(20))
    assert "transparent" not in bar(p)
    assert shown.labels(run) == list(range(20))


def test_the_bar_of_many_labels_ends_where_they_end():
    p = np.full(100, 0.005)
    p[7] = 0.505
    parts = re.findall(r"(\S+) ([\d.]+)% ([\d.]+)%", bar(p))
    assert len(parts) == TOP + 1
    assert "var(--e7)" in [name.removeprefix("linear-gradient(90deg,").lstrip(",") for name, _, _ in parts]
    assert parts[-1][0].endswith("transparent")
    assert float(parts[-1][1]) == pytest.approx(50.5 + 19 * 0.5)
