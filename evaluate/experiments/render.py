"""Print a table of experiments as csv, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from evaluate.run.measures.measure import NAMES, PLAIN

HEADS = {**NAMES, "accuracy": "WA", "unweighted_accuracy": "UA"}
TEX = {c: f"\\{c}" for c in "_&%#${}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"
}  # fmt: skip
Record = Mapping[Any, Any]


def render(table: pd.DataFrame, form: str, published_metric: str = "weighted F1") -> str:
    """Return the table as csv (unrounded), Markdown or LaTeX (mean ± sd, one decimal more than the papers).

    A row without results has its reason in the first column of scores.
    """
    if form == "csv":
        text: str = table.to_csv(index=False, lineterminator="\n")
        return text
    markdown = form == "markdown"
    columns = _columns(table, " ± " if markdown else r" $\pm$ ", published_metric)
    first = next(HEADS[metric] for metric in HEADS if metric in table)
    escape = _markdown if markdown else _tex
    body = []
    for record in table.to_dict("records"):
        cells = [escape(str(record["row"]))]
        why = _why(record)
        for head, cell in columns.items():
            if why and head == first:
                cells.append(escape(why))
            else:
                cells.append(cell(record))
        body.append(cells)
    if markdown:
        rows = (["", *map(_markdown, columns)], ["---"] * (1 + len(columns)), *body)
        return "".join("| " + " | ".join(cells) + " |\n" for cells in rows)
    lines = [" & ".join(cells) + r" \\" for cells in (["", *map(_tex, columns)], *body)]
    lines.insert(1, r"\midrule")
    return "\n".join(
        [
            "\\begin{tabular}{l" + "r" * len(columns) + "}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            "\\end{tabular}\n",
        ]
    )


def _columns(table: pd.DataFrame, plus: str, published_metric: str) -> dict[str, Callable[[Record], str]]:
    """Return {heading: function from a record to its cell} for the columns that have a value."""

    def score(column: str, metric: str) -> Callable[[Record], str]:
        digits = ".3f" if metric in PLAIN else ".2f"
        return lambda record: (
            _number(record[column], digits) + _number(record[f"{column}_sd"], digits, before=plus)
        )

    def number(column: str, digits: str) -> Callable[[Record], str]:
        return lambda record: _number(record[column], digits)

    there = {column for column in table if bool(table[column].notna().any())}
    columns: dict[str, Callable[[Record], str]] = {}
    if "published" in there:
        columns[f"published {published_metric}"] = number("published", ".2f")
    if "chosen_on" in there:
        columns["its epoch chosen on"] = lambda record: (
            "" if pd.isna(record["chosen_on"]) else record["chosen_on"]
        )
    columns |= {head: score(metric, metric) for metric, head in HEADS.items() if metric in table}
    columns |= {column: number(column, ".2f") for column in table if str(column).startswith("F1 ")}
    columns |= {
        f"val {head}": score(f"val_{name}", name) for name, head in HEADS.items() if f"val_{name}" in there
    }
    columns["p"] = number("p", ".4f")
    for column, head, digits in (("seconds", "training s", ".1f"), ("parameters", "parameters", ",.0f")):
        if column in there:
            columns[head] = number(column, digits)
    return columns


def _why(record: Record) -> str:
    for key, words in (("failed", "no result"), ("not_run", "not run")):
        if isinstance(said := record.get(key), str):
            return f"{words}: {said}"
    return ""


def _number(value: float, digits: str, before: str = "") -> str:
    return "" if pd.isna(value) else before + format(value, digits)


def _markdown(text: str) -> str:
    return text.replace("|", r"\|")


def _tex(text: str) -> str:
    return "".join(TEX.get(c, c) for c in text)
