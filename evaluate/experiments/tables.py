"""Tables of DVC experiments: run and collect the papers' grids, or compare any experiments.

    python -m evaluate.experiments.tables run modalities    # one experiment per row, all of them in one process
    python -m evaluate.experiments.tables show modalities   # --format markdown | latex | csv
    python -m evaluate.experiments.tables compare HEAD mu1-low mu1-high --against HEAD

`make table-modalities` runs the first two commands. `run` keeps the rows that HEAD already has with the same inputs.
`queue` instead of `run` leaves the rows to DVC's queue, for several workers: `dvc queue start -j N`. `compare` takes
names of experiments, revisions, and `workspace`.
Every number is read from the experiments' results; published figures come from published.csv beside this file, which
names their source. p is the two-sided p of "no difference" by a paired bootstrap over the test dialogues, against the
grid's full model or the row that `--against` names, empty below ten dialogues: of weighted F1, of macro F1 with several
labels, of CCC with values. The column before it has the same score on val, which chose the epochs. An experiment of
several seeds has a second row, the ensemble that averages the probabilities or values of its seeds.
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

from evaluate.check import tracked
from evaluate.experiments import clone
from evaluate.experiments.answers import kind_of
from evaluate.experiments.cost import cost
from evaluate.experiments.ensemble import ensemble, named
from evaluate.experiments.grids import GRIDS, experiment, left_out, rows
from evaluate.experiments.paired import paired_bootstrap
from evaluate.experiments.published import published
from evaluate.experiments.render import render
from evaluate.run.measures.measure import NAMES, PLAIN
from evaluate.run.metrics import METRICS
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.params import load

# (corpus, number of labels): its name in published.csv
DATASETS = {("meld", 7): "MELD", ("iemocap", 6): "IEMOCAP-6"}
# details.json's `splits.test`, with the main score on val as VAL where there is one, and predictions.csv
Results = tuple[dict[str, Any], pd.DataFrame]
VAL = "val"


@dataclass(frozen=True)
class Failed:
    """The reason why an experiment has no results."""

    reason: str


def planned(grid: str, seeds: int) -> dict[str, tuple[str, ...]]:
    """Return the experiments of a grid, name → changed params, with `seeds` seeds each."""
    return {experiment(grid, row): (f"++train.seeds={seeds}", *row.changes) for row in rows(grid, load())}


def enqueue(experiments: Mapping[str, Sequence[str]]) -> None:
    """Queue experiments, given as name → changed params, and replace those of the same name.

    Raises:
        UserError: DVC does not track an imported stream, so the experiments would lack it; or DVC fails.
    """
    tracked(load())
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
    command, out = [sys.executable, "-m", "dvc", *words], subprocess.PIPE if capture else None
    done = subprocess.run(command, env=clone.environment(), stdout=out, text=True)
    if done.returncode:
        raise UserError(
            f"`dvc {' '.join(words)}` ended with exit code {done.returncode}; correct what its message above names"
        )
    return done.stdout or ""


def collect(grid: str) -> pd.DataFrame:
    """Return the rows of the grid and their ensembles: the columns of `table_of`, and what a paper's table has.

    `published` and `chosen_on` are the published figure in percent and the split on which its authors chose the epoch;
    `F1 LABEL` is in percent; `seconds` and `parameters` are those of `evaluate.experiments.cost`; `not_run` says why a
    row has no experiment.

    Raises:
        UserError: none of the experiments exists.
    """
    params = load()
    figures = published(DATASETS.get((params.corpus.name, len(params.corpus.labels))), "weighted_f1")
    hint = f"run `python -m evaluate.experiments.tables run {grid}`"
    kept = rows(grid, params)
    names = {row.title: experiment(grid, row) for row in kept}
    found = of_head(list(names.values()), hint)
    runs = {row.title: with_ensemble(row.title, found[names[row.title]]) for row in kept}
    every = {title: run for both in runs.values() for title, run in both.items()}
    table = table_of(every, kept[-1].title).set_index("row")
    for title, run in every.items():
        if not isinstance(run, Failed):
            for label, scores in run[0].get("labels", {}).items():
                table.loc[title, f"F1 {label}"] = np.nan if scores["f1"] is None else 100 * scores["f1"]
    for title, both in runs.items():
        if not isinstance(both[title], Failed):
            for key, value in cost(names[title]).items():
                table.loc[title, key] = value
    shown = {
        title: row.published if title == row.title else ""
        for row in GRIDS[grid]
        for title in runs.get(row.title, [row.title])
    }
    table = table.reindex(list(shown))
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    table["not_run"] = pd.Series(left_out(grid, params), dtype=object)
    for column in ("published", "chosen_on"):
        table[column] = [figures[column].get(system) for system in shown.values()]
    return table.rename_axis("row").reset_index()


def compare(names: Sequence[str], against: str) -> pd.DataFrame:
    """Return one row per experiment and ensemble, as `collect` does, without published figures.

    Raises:
        UserError: an experiment is missing, or was scored on other utterances than `against`.
    """
    hint = "`dvc exp list` lists the experiments"
    found = [with_ensemble(name, results(name, hint)) for name in dict.fromkeys([*names, against])]
    return table_of({title: run for both in found for title, run in both.items()}, against)


def with_ensemble(title: str, run: Results | Failed) -> dict[str, Results | Failed]:
    """Return a run and the ensemble of its seeds, if it has one, each under the title of its row."""
    if isinstance(run, Failed) or (together := ensemble(kind_of(run[0]), run[1])) is None:
        return {title: run}
    return {title: run, named(title, run[1]): together}


def table_of(runs: Mapping[str, Results | Failed], against: str) -> pd.DataFrame:
    """Return one row per title: mean and sd per metric, p against the row `against`, or why it failed.

    Shares are in percent. p is of the main score of the target, and so is `val_METRIC`, the mean over the seeds on val,
    which an ensemble lacks.
    """
    table = []
    other = runs[against]
    done = [run[0] for run in runs.values() if not isinstance(run, Failed)]
    metrics = [metric for metric in NAMES if done and metric in done[0]] or METRICS
    theirs = None if isinstance(other, Failed) else kind_of(other[0])(other[1])
    for title, run in runs.items():
        record: dict[str, object] = {"row": title, "seeds": 0}
        if isinstance(run, Failed):
            record |= {f"{metric}{part}": np.nan for metric in metrics for part in ("", "_sd")}
            record |= {"p": np.nan, "failed": run.reason}
        else:
            test, answers = run
            record["seeds"] = len(test[metrics[0]]["seeds"])
            main = kind_of(test).main
            named = [(metric, metric, metric) for metric in metrics] + [(f"{VAL}_{main}", VAL, main)]
            for column, key, metric in named:
                unit = 1 if metric in PLAIN else 100
                for part, statistic in (("", "mean"), ("_sd", "sd")):
                    value = test.get(key, {}).get(statistic)  # an ensemble lacks kl and average precision
                    record[f"{column}{part}"] = np.nan if value is None else unit * value
            record["p"] = np.nan
            if theirs is not None and title != against:
                record["p"] = paired_bootstrap(kind_of(test)(answers), theirs)
        table.append(record)
    return pd.DataFrame(table)


def complete(table: pd.DataFrame) -> None:
    """Check that no row of a printed table has failed.

    Raises:
        UserError: a row has no result.
    """
    if "failed" in table:
        raise UserError(
            f"rows without a result: {table['failed'].count()}; the table gives the reasons; fix them and run the rows "
            "again"
        )


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
    """Return why an experiment of HEAD failed: the record of `run`, or the last error in the log of the queue."""
    if said := clone.reason(Path.cwd(), clone.ref(clone.head(Path.cwd()), name)):
        return said
    words = [sys.executable, "-m", "dvc", "queue", "logs", name]
    log = subprocess.run(words, capture_output=True, text=True).stdout
    errors = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
    return errors[-1] if errors else f"not run, or see `dvc queue logs {name}`"


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
    test, val = details["splits"]["test"], details["splits"]["val"]
    if val["scored"]:
        test[VAL] = val[kind_of(test).main]
    return test, pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)


def main() -> None:
    """Run or queue a grid, show its table, or compare experiments."""
    line = parser("evaluate.experiments.tables", __doc__)
    commands = line.add_subparsers(dest="do", required=True)
    zero = commands.add_parser("run", help="run a grid's rows as experiments, in one process")
    one = commands.add_parser("queue", help="queue a grid's rows as experiments")
    for command in (zero, one):
        command.add_argument("--seeds", type=int, default=3, help="seeds per row (default: 3)")
    two = commands.add_parser("show", help="print a grid's table")
    three = commands.add_parser("compare", help="print a table of any experiments")
    three.add_argument(
        "experiments", nargs="+", metavar="EXPERIMENT", help="a name, a revision, or workspace"
    )
    three.add_argument(
        "--against", metavar="EXPERIMENT", help="the experiment that p compares with (default: the first)"
    )
    for command in (zero, one, two):
        command.add_argument("grid", choices=sorted(GRIDS))
    for command in (two, three):
        command.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")
    words = line.parse_args()
    if words.do == "run":
        clone.run(planned(words.grid, words.seeds))
    elif words.do == "queue":
        enqueue(planned(words.grid, words.seeds))
    elif words.do == "show":
        table = collect(words.grid)
        print(render(table, words.format), end="")
        complete(table)
    else:
        table = compare(words.experiments, words.against or words.experiments[0])
        print(render(table, words.format), end="")


if __name__ == "__main__":
    entry(main)
