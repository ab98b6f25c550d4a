"""Leave one session out: run and collect every fold of a model or of a grid of experiments.

    python -m evaluate.experiments.folds run                   # params.yaml as it is, one experiment per session
    python -m evaluate.experiments.folds run foalnet           # a grid, one experiment per row and session
    python -m evaluate.experiments.folds show foalnet          # mean ± sd; --format markdown | latex | csv

`make folds` and `make folds-foalnet` run both steps. `queue` instead of `run` leaves the folds to DVC's own queue, for
several workers: `dvc queue start -j N`, one worker per GPU. A fold's score is the mean over its seeds; the sd is taken
over the folds. The p of a row comes from a paired bootstrap over the dialogues of all folds' test sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evaluate.experiments import clone
from evaluate.experiments.answers import kind_of
from evaluate.experiments.answers import seeds as seeds_of
from evaluate.experiments.ensemble import ensemble, named
from evaluate.experiments.grids import GRIDS, Row, experiment
from evaluate.experiments.grids import rows as rows_of
from evaluate.experiments.published import published
from evaluate.experiments.render import render
from evaluate.experiments.tables import (
    VAL,
    Failed,
    Results,
    complete,
    enqueue,
    of_head,
    table_of,
)
from evaluate.run.measures.measure import NAMES
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.messages import listed
from pipeline.params import load
from pipeline.tables.schema import read_utterances

ALONE = (Row("all folds"),)


def sessions() -> list[str]:
    """Return the sessions of data/utterances.csv; each session is a fold.

    Raises:
        UserError: the table is missing, it has fewer than two sessions, or two sessions give the same experiment name.
    """
    found = sorted({u.session for u in read_utterances()} - {""})
    if len(found) < 2:
        raise UserError(
            f"data/utterances.csv: {len(found)} sessions, but leaving one out needs at least two; "
            "set train.fold=none, or add sessions to the corpus"
        )
    named: dict[str, str] = {}
    for session in found:
        other = named.setdefault(experiment("fold", Row(session)), session)
        if other != session:
            raise UserError(
                f"data/utterances.csv: sessions {other!r} and {session!r} give the same experiment name, which "
                "keeps only letters and digits; rename one of them in the corpus"
            )
    return found


def name_of(grid: str, row: Row, fold: str) -> str:
    """Return the experiment's name."""
    return experiment(grid, Row(f"{row.title} fold {fold}"))


def planned(grid: str, rows: Sequence[Row], seeds: int) -> dict[str, tuple[str, ...]]:
    """Return one experiment per row and session, name → changed params; fine-tuned streams follow the fold."""
    params, folds = load(), sessions()
    fitted = [name for name in params.train.streams.in_use().values() if name in params.finetune]
    experiments = {}
    for row in rows:
        for fold in folds:
            # `++` also sets a param that params.yaml leaves at its default.
            encoders = (f"++finetune.{name}.training.fold={_quoted(fold)}" for name in fitted)
            changes = (f"++train.seeds={seeds}", f"++train.fold={_quoted(fold)}", *encoders, *row.changes)
            experiments[name_of(grid, row, fold)] = changes
    return experiments


def _quoted(fold: str) -> str:
    """Return a session quoted for Hydra, which rejects bare `Ünal` and `a,b` and reads `1e3` and `true` as values."""
    return fold if fold.isdecimal() else "'" + fold.replace("'", r"\'") + "'"


def collect(grid: str, rows: Sequence[Row]) -> pd.DataFrame:
    """Return a table with the rows of the grid and their ensembles; for a single model, the folds and their mean.

    Raises:
        UserError: none of the experiments exists.
    """
    hint = f"run `python -m evaluate.experiments.folds run{'' if rows is ALONE else f' {grid}'}`"
    names = {row.title: {fold: name_of(grid, row, fold) for fold in sessions()} for row in rows}
    there = of_head([name for folds in names.values() for name in folds.values()], hint)
    found = {title: {fold: there[name] for fold, name in folds.items()} for title, folds in names.items()}
    if rows is ALONE:
        (folds,) = found.values()
        each = [table_of({f"fold {fold}": result}, f"fold {fold}") for fold, result in folds.items()]
        table = pd.concat([*each, table_of(with_ensemble("mean", folds), "mean")], ignore_index=True)
    else:
        both = [with_ensemble(title, folds) for title, folds in found.items()]
        table = table_of({title: run for one in both for title, run in one.items()}, rows[-1].title)
    if grid == "foalnet":
        figures = published("IEMOCAP-4", "unweighted_accuracy")
        for column in figures:
            systems = {row.title: row.published for row in rows}
            table[column] = [figures[column].get(systems.get(title, "")) for title in table["row"]]
    return table


def with_ensemble(title: str, folds: Mapping[str, Results | Failed]) -> dict[str, Results | Failed]:
    """Return all folds as one result and, if every fold has an ensemble of its seeds, the ensembles as another.

    Raises:
        UserError: see `over_folds`.
    """
    runs: dict[str, Results | Failed] = {title: over_folds(title, folds)}
    done = {fold: run for fold, run in folds.items() if not isinstance(run, Failed)}
    together = {
        fold: both
        for fold, (test, answers) in done.items()
        if (both := ensemble(kind_of(test), answers)) is not None
    }
    if len(together) == len(folds):
        runs[named(title, next(iter(done.values()))[1])] = over_folds(title, together)
    return runs


def over_folds(title: str, folds: Mapping[str, Results | Failed]) -> Results | Failed:
    """Return all folds as one result: mean and sd over the folds, and the test utterances of every fold.

    If one fold failed, the result is `Failed`.

    Raises:
        UserError: the folds of row `title` have different seeds.
    """
    failed = [f"fold {fold}: {run.reason}" for fold, run in folds.items() if isinstance(run, Failed)]
    if failed:
        return Failed(listed(failed, "; "))
    done = {fold: run for fold, run in folds.items() if not isinstance(run, Failed)}
    tests, answers = zip(*done.values(), strict=True)
    seeds = {fold: " ".join(seeds_of(frame)) for fold, (_, frame) in done.items()}
    if len(set(seeds.values())) > 1:
        shown = listed((f"fold {fold}: {names}" for fold, names in seeds.items()), "; ")
        raise UserError(
            f"{title}: the folds have different seeds ({shown}); run them again with the same --seeds"
        )
    summary = {}
    for metric in (name for name in (*NAMES, VAL) if all(name in test for test in tests)):
        means = [np.nan if test[metric]["mean"] is None else test[metric]["mean"] for test in tests]
        summary[metric] = {"mean": float(np.mean(means)), "sd": float(np.std(means, ddof=1)), "seeds": means}
    scored = [frame[frame["split"] == "test"] for frame in answers]
    return summary, pd.concat(scored, ignore_index=True)


def main() -> None:
    """Run or queue the folds, or show their table."""
    line = parser("evaluate.experiments.folds", __doc__)
    line.add_argument("do", choices=("run", "queue", "show"))
    line.add_argument("grid", nargs="?", choices=sorted(GRIDS), help="default: params.yaml as it is")
    line.add_argument("--seeds", type=int, default=1, help="seeds per row and fold (run, queue; default: 1)")
    line.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")
    words = line.parse_args()
    grid, rows = (words.grid, rows_of(words.grid, load())) if words.grid else ("model", ALONE)
    if words.do == "run":
        clone.run(planned(grid, rows, words.seeds))
    elif words.do == "queue":
        enqueue(planned(grid, rows, words.seeds))
    else:
        table = collect(grid, rows)
        print(render(table, words.format, "UA of IEMOCAP-4"), end="")
        complete(table)


if __name__ == "__main__":
    entry(main)
