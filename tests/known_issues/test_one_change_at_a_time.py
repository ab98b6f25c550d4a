"""The docs listed lines with `dvc exp run -S`, though each line kept the changes of the lines before it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "presets").glob("*.yaml")),
]
# In place on purpose: the second line changes the stream that the first one adds; both are named and compared.
IN_PLACE = {"finetuning.md", "experiments.md"}


def in_place(line: str) -> bool:
    return bool(re.match(r"(# +)?dvc exp run (?!.*--(temp|queue)).*-S ", line))


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in IN_PLACE], ids=lambda p: p.name)
def test_lines_one_under_another_each_begin_at_the_same_params(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [pair for pair in pairwise(lines) if in_place(pair[0]) and in_place(pair[1])] == []


def test_what_runs_in_place_is_told_apart() -> None:
    assert in_place("dvc exp run -S loss.mu1=0.4")
    assert in_place("#   dvc exp run -S train.fold=1")
    assert not in_place("dvc exp run --temp -S loss.mu1=0.4")
    assert "Without them, `-S` changes `params.yaml`" in (ROOT / "README.md").read_text(encoding="utf-8")
