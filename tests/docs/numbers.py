"""Write the tables of scores in docs from the files that the commands left in results/published.

    python -m evaluate.experiments.tables show modalities --format csv > results/published/demo-modalities.csv
    python -m benchmarks.train_step --published CHECKOUT > results/published/train-step.md
    python -m tests.docs.numbers

A table lies between `<!-- results/published/NAME.csv -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from evaluate.experiments.render import render
from pipeline.closure import ROOT
from tests.docs.pages import PAGES

TABLE = re.compile(r"(<!-- (results/published/\S+\.(?:csv|md)) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return a page with its tables made from their files."""
    return TABLE.sub(lambda m: m[1] + table(ROOT / m[2]) + m[3], text)


def table(file: Path) -> str:
    """Return a file's table in Markdown: scores of experiments rounded, other values as they are."""
    if file.suffix == ".md":
        return file.read_text(encoding="utf-8")
    found = pd.read_csv(file)
    if "row" in found:
        return render(found, "markdown")
    lines = [found.columns.tolist(), ["---"] * found.shape[1], *found.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
