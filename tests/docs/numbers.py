"""Write the tables of scores in docs from the files that the commands left in results/published.

    python -m evaluate.experiments.tables show modalities --format csv > results/published/demo-modalities.csv
    python -m benchmarks.train_step --published CHECKOUT > results/published/train-step.md
    python -m tests.docs.numbers

A table lies between `<!-- results/published/NAME.csv -->` and `<!-- end -->`. `NAME.csv: best 4: A, B` has only
the columns with these headings, and the four rows with the highest weighted F1, without ensembles.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from evaluate.experiments.render import render
from pipeline.closure import ROOT
from tests.docs.pages import PAGES

TABLE = re.compile(
    r"(<!-- (results/published/\S+\.(?:csv|md))(?:: best (\d+): (.+))? -->\n).*?(<!-- end -->)", re.DOTALL
)


def filled(text: str) -> str:
    """Return a page with its tables made from their files."""
    return TABLE.sub(
        lambda m: (
            m[1] + (best(ROOT / m[2], int(m[3]), m[4].split(", ")) if m[3] else table(ROOT / m[2])) + m[5]
        ),
        text,
    )


def table(path: Path) -> str:
    """Return a file's table in Markdown: scores of experiments rounded, other values as they are."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    found = pd.read_csv(path)
    if "row" in found:
        return render(found, "markdown")
    head, *rest = csv.reader(path.read_text(encoding="utf-8").splitlines())
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *rest])


def best(path: Path, count: int, columns: Sequence[str]) -> str:
    """Return the `count` best single models of a table of experiments, with only the columns of these headings."""
    found = pd.read_csv(path)
    alone = found[~found["row"].str.contains(", ensemble of ")].nlargest(count, "weighted_f1")
    lines = [line[2:-2].split(" | ") for line in render(alone, "markdown").splitlines()]
    places = [0, *map(lines[0].index, columns)]
    return "".join(f"| {' | '.join(cells[i] for i in places)} |\n" for cells in lines)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
