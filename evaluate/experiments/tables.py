"""Tables of DVC experiments: queue and collect the papers' grids, or compare any experiments.

    python -m evaluate.experiments.tables queue modalities  # one experiment per row, from the committed params
    dvc exp run --run-all                                   # or `dvc queue start -j N`
    python -m evaluate.experiments.tables show modalities   # --format markdown | latex | csv
    python -m evaluate.experiments.tables compare HEAD mu1-low mu1-high --against HEAD

`make table-modalities` runs the first three commands. `compare` takes names of experiments, revisions, and `workspace`.
Every number is read from the experiments' results; published figures come from published.csv beside this file, which
names their source. The last column is the two-sided p of "no difference in weighted F1" by a paired bootstrap over the
test dialogues, against the grid's full model or the row that `--against` names. It is empty below ten test dialogues.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import numpy as np
import pandas as pd
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from evaluate.check import strays
from evaluate.experiments.grids import GRIDS, experiment, rows
from evaluate.experiments.paired import paired_bootstrap
from evaluate.run.metrics import METRICS
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.params import load

PUBLISHED = Path(__file__).with_name("published.csv")
# (corpus, number of labels): its name in PUBLISHED
DATASETS = {("meld", 7): "MELD", ("iemocap", 6): "IEMOCAP-6"}
TEX = {c: f"\\{c}" for c in "_&%#${}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"
}  # fmt: skip
Results = tuple[dict[str, Any], pd.DataFrame]  # details.json's `splits.test`, and predictions.csv


@dataclass(frozen=True)
class Failed:
    """The reason why an experiment has no results."""

    reason: str


def queue(grid: str, seeds: int) -> None:
    """Queue one experiment per row of the grid, with `seeds` seeds each."""
    enqueue({experiment(grid, row): (f"train.seeds={seeds}", *row.changes) for row in rows(grid, load())})


def enqueue(experiments: Mapping[str, Sequence[str]]) -> None:
    """Queue experiments, given as name → changed params, and replace those of the same name.

    Raises:
        UserError: DVC does not track an imported stream, so queued experiments would lack it; or DVC fails.
    """
    if lacking := strays(load()):
        raise UserError("\n".join(lacking))
    there = listed()
    for name, changes in experiments.items():
        # `exp run --force` would also run every stage again.
        if name in there:
            run_dvc("exp", "remove", name)
        run_dvc("exp", "run", "--queue", "-n", name, *(word for change in changes for word in ("-S", change)))


def listed() -> list[str]:
    """Return the names of HEAD's experiments."""
    return run_dvc("exp", "list", "--name-only", capture=True).split()


def run_dvc(*words: str, capture: bool = False) -> str:
    """Run a DVC command; return its output if `capture`, otherwise print it and return an empty string.

    Raises:
        UserError: DVC ends with an error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], stdout=subprocess.PIPE if capture else None, text=True
    )
    if done.returncode:
        raise UserError(
            f"`dvc {' '.join(words)}` ended with exit code {done.returncode}; its message is above"
        )
    return done.stdout or ""


def collect(grid: str) -> pd.DataFrame:
    """Return one row per experiment of the grid: title, mean and sd per metric in percent, p, published figure.

    Raises:
        UserError: none of the experiments exists.
    """
    params = load()
    known = published(DATASETS.get((params.corpus.name, len(params.corpus.labels))), "weighted_f1")
    queue = f"python -m evaluate.experiments.tables queue {grid}"
    hint = f"run `{queue}` and then `dvc exp run --run-all`; `dvc queue status` and "
    hint += "`dvc queue logs` show the state and the errors"
    shown = rows(grid, params)
    found = of_head([experiment(grid, row) for row in shown], hint)
    runs = {row.title: found[experiment(grid, row)] for row in shown}
    table = table_of(runs, shown[-1].title)
    table["published"] = [known.get(row.published, np.nan) for row in shown]
    return with_cited(table, grid, known)


def with_cited(table: pd.DataFrame, grid: str, known: Mapping[str, float]) -> pd.DataFrame:
    """Return the table with the systems that are not run before its last row, where `known` has their figures."""
    cited = [
        {"row": row.title, "seeds": 0, "published": known[row.published], "cited": row.cited}
        for row in GRIDS[grid]
        if row.cited and row.published in known
    ]
    if not cited:
        return table
    return pd.concat([table.iloc[:-1], pd.DataFrame(cited), table.iloc[-1:]], ignore_index=True)


def compare(names: Sequence[str], against: str) -> pd.DataFrame:
    """Return one row per experiment, as `collect` does, without published figures.

    Raises:
        UserError: an experiment is missing, or was scored on other utterances than `against`.
    """
    hint = "`dvc exp list` lists the experiments"
    return table_of({name: results(name, hint) for name in dict.fromkeys([*names, against])}, against)


def table_of(runs: Mapping[str, Results | Failed], against: str) -> pd.DataFrame:
    """Return one row per title: mean and sd per metric in percent, p against the row `against`, or why it failed."""
    table = []
    other = runs[against]
    theirs = None if isinstance(other, Failed) else other[1]
    for title, run in runs.items():
        record: dict[str, object] = {"row": title, "seeds": 0}
        if isinstance(run, Failed):
            record |= {f"{metric}{part}": np.nan for metric in METRICS for part in ("", "_sd")}
            record |= {"p": np.nan, "failed": run.reason}
        else:
            test, answers = run
            record["seeds"] = len(test["weighted_f1"]["seeds"])
            for metric in METRICS:
                record[metric] = 100 * test[metric]["mean"]
                record[f"{metric}_sd"] = np.nan if test[metric]["sd"] is None else 100 * test[metric]["sd"]
            alone = title == against or theirs is None
            record["p"] = np.nan if alone else paired_bootstrap(answers, theirs)
        table.append(record)
    return pd.DataFrame(table)


def complete(table: pd.DataFrame) -> None:
    """Check that no row of a printed table has failed.

    Raises:
        UserError: a row has no result.
    """
    if "failed" in table:
        raise UserError(
            f"{table['failed'].count()} of {len(table)} rows have no result; the table gives the reasons; "
            "fix them and queue the rows again"
        )


def render(table: pd.DataFrame, form: str, published_metric: str = "weighted F1") -> str:
    """Return the table as csv (unrounded), Markdown or LaTeX (mean ± sd, one decimal more than the papers)."""
    if form == "csv":
        text: str = table.to_csv(index=False, lineterminator="\n")
        return text
    shown = "published" in table and bool(table["published"].notna().any())
    head = ["", "weighted F1", "macro F1", "WA", "UA", *[f"published {published_metric}"] * shown, "p"]
    plus = " ± " if form == "markdown" else r" $\pm$ "
    body_rows = []
    for record in table.to_dict("records"):
        cells = [str(record["row"]) if form == "markdown" else _tex(str(record["row"]))]
        if isinstance(record.get("failed"), str):
            why = f"no result: {record['failed']}"
            cells.append(why.replace("|", r"\|") if form == "markdown" else _tex(why))
            body_rows.append(cells + [""] * (len(head) - 2))
            continue
        if isinstance(record.get("cited"), str):
            cells += [f"not run: {record['cited']}", "", "", "", f"{record['published']:.2f}", ""]
            body_rows.append(cells)
            continue
        for metric in METRICS:
            sd = record[f"{metric}_sd"]
            cells.append(f"{record[metric]:.2f}" + ("" if np.isnan(sd) else f"{plus}{sd:.2f}"))
        if shown:
            cells.append("" if np.isnan(record["published"]) else f"{record['published']:.2f}")
        cells.append("" if np.isnan(record["p"]) else f"{record['p']:.4f}")
        body_rows.append(cells)
    if form == "markdown":
        lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body_rows)]
        return "\n".join(lines) + "\n"
    lines = [" & ".join(cells) + r" \\" for cells in (head, *body_rows)]
    lines.insert(1, r"\midrule")
    body = "\n".join(["\\begin{tabular}{l" + "r" * (len(head) - 1) + "}", "\\toprule", *lines])
    return body + "\n\\bottomrule\n\\end{tabular}\n"


def _tex(text: str) -> str:
    return "".join(TEX.get(c, c) for c in text)


def of_head(names: Sequence[str], hint: str) -> dict[str, Results | Failed]:
    """Return {name: result of HEAD's experiment}; DVC alone would also accept an earlier commit's experiment.

    Args:
        names: names of experiments.
        hint: how to get the experiments, for the error message.

    Raises:
        UserError: HEAD has none of these experiments, or nothing was scored.
    """
    there = listed()
    if not set(names) & set(there):
        raise UserError(
            f"experiment {names[0]}: no results in the current commit (HEAD), nor for the other rows "
            f"({_said(names[0])}); {hint}. If they belong to another commit, "
            f"`python -m evaluate.experiments.tables compare {names[0]}` shows them"
        )
    return {name: results(name, hint) if name in there else Failed(_said(name)) for name in names}


def _said(name: str) -> str:
    """Return the last error in a queued experiment's log."""
    words = [sys.executable, "-m", "dvc", "queue", "logs", name]
    log = subprocess.run(words, capture_output=True, text=True).stdout
    said = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
    return said[-1] if said else f"not run, or see `dvc queue logs {name}`"


def results(name: str, hint: str) -> Results:
    """Return the results of an experiment.

    Args:
        name: the experiment, a revision, or `workspace`.
        hint: how to get the experiment, for the error message.

    Raises:
        UserError: there is no such experiment, or nothing was scored.
    """
    rev = None if name == "workspace" else name
    try:
        details = json.loads(dvc.api.read("results/details.json", rev=rev, encoding="utf-8"))
        text = dvc.api.read("results/predictions.csv", rev=rev, encoding="utf-8")
    except (DvcException, SCMError, FileNotFoundError) as error:
        raise UserError(f"experiment {name}: no results ({error}); {hint}") from None
    if not details["splits"]["test"]["scored"]:
        raise UserError(
            f"experiment {name}: no test utterance has a label, so there is nothing to compare; "
            "add labels to the test split"
        )
    return details["splits"]["test"], pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)


def published(dataset: str | None, metric: str) -> dict[str, float]:
    """Return {system: published figure in percent} for a data set."""
    table = pd.read_csv(PUBLISHED)
    chosen = table[(table["dataset"] == dataset) & (table["metric"] == metric)]
    return dict(zip(chosen["system"], chosen["value"], strict=True))


def main() -> None:
    """Queue a grid, show its table, or compare experiments."""
    line = parser("evaluate.experiments.tables", __doc__)
    commands = line.add_subparsers(dest="do", required=True)
    one = commands.add_parser("queue", help="queue a grid's rows as experiments")
    one.add_argument("--seeds", type=int, default=3, help="seeds per row")
    two = commands.add_parser("show", help="print a grid's table")
    three = commands.add_parser("compare", help="print a table of any experiments")
    three.add_argument(
        "experiments", nargs="+", metavar="EXPERIMENT", help="a name, a revision, or workspace"
    )
    three.add_argument(
        "--against", metavar="EXPERIMENT", help="the experiment that p compares with (default: the first)"
    )
    for command in (one, two):
        command.add_argument("grid", choices=sorted(GRIDS))
    for command in (two, three):
        command.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")
    words = line.parse_args()
    if words.do == "queue":
        queue(words.grid, words.seeds)
    elif words.do == "show":
        table = collect(words.grid)
        print(render(table, words.format), end="")
        complete(table)
    else:
        table = compare(words.experiments, words.against or words.experiments[0])
        print(render(table, words.format), end="")


if __name__ == "__main__":
    entry(main)
