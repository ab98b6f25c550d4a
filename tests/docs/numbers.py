"""Write the tables of scores in docs from the files that the commands left in results/published.

    python -m evaluate.experiments.tables show modalities --format csv > results/published/demo-modalities.csv
    python -m benchmarks.train_step --published CHECKOUT > results/published/train-step.md
    python -m tests.docs.numbers

A table lies between `<!-- results/published/NAME.csv -->` and `<!-- end -->`. `NAME.csv: A, B` has only the columns
with these headings, and no rows of ensembles or of systems that were not run.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd

from evaluate.experiments.render import render
from pipeline.closure import ROOT
from tests.docs.pages import PAGES

TABLE = re.compile(r"(<!-- (results/published/\S+\.(?:csv|md))(?:: (.+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return a page with its tables made from their files."""
    return TABLE.sub(lambda m: m[1] + table(ROOT / m[2], m[3]) + m[4], text)


def table(path: Path, columns: str | None = None) -> str:
    """Return a file's table in Markdown: scores of experiments rounded, other values as they are.

    Args:
        path: the file, csv or Markdown.
        columns: headings of a table of experiments, separated by commas; None for all.
    """
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    found = pd.read_csv(path)
    if "row" not in found:
        head, *rest = csv.reader(path.read_text(encoding="utf-8").splitlines())
        return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *rest])
    if columns is None:
        return render(found, "markdown")
    run = found[found["weighted_f1"].notna() & ~found["row"].str.contains(", ensemble of ")]
    lines = [line[2:-2].split(" | ") for line in render(run, "markdown").splitlines()]
    places = [0, *(lines[0].index(column) for column in columns.split(", "))]
    return "".join(f"| {' | '.join(cells[i] for i in places)} |\n" for cells in lines)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
