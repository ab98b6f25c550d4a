"""Compare settings of MultiEMO and its baselines over several corpora, on val alone.

    python -m benchmarks.sweep meld iemocap --rows rows.csv --csv results/published/sweep.csv

Each PROJECT is a folder with params.yaml, data/labels.csv, data/utterances.csv and the features that its params name.
A setting changes some of these params. `--rows` holds a line for each setting, project and seed; lines that are there
are not run again, so an interrupted sweep goes on. The test split is not read.

The table has the weighted F1 of the chosen epoch on val, in percent, mean over the seeds. The last columns are the mean
over the projects of the difference from the params as they are with the same seeds, and in how many of its projects the
setting is better.
A setting that `--rows` lacks on a project is marked there as not run.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import chdir
from pathlib import Path

import pandas as pd
import torch

from evaluate.experiments import paper
from evaluate.experiments.paper import Changes
from pipeline.command import parser
from pipeline.params import PARAMS, Params
from pipeline.settings import read_yaml
from pipeline.strict import validate
from train.fusion import loop
from train.fusion.build import read

AS_THEY_ARE = "as they are"
COLUMNS = ["setting", "project", "seed", "val_weighted_f1", "best_epoch", "epochs", "seconds"]
SETTINGS: dict[str, Changes] = {
    AS_THEY_ARE: {},
    "lr 0.0003": {"train": {"lr": 0.0003}},
    "lr 0.003": {"train": {"lr": 0.003}},
    "batch 8": {"train": {"batch_size": 8}},
    "batch 32": {"train": {"batch_size": 32}},
    "dropout 0.3": {"model": {"dropout": 0.3}},
    "dim 64": {"model": {"dim": 64, "ffn": 128}},
    "dim 256": {"model": {"dim": 256, "ffn": 512}},
    "layers 2": {"model": {"layers": 2}},
    "without SWFC": {"loss": {"mu1": 0.0}},
    "SWFC 0.8": {"loss": {"mu1": 0.8}},
    "without weights of labels": {"loss": {"alpha": 0.0}},
    "without Soft-HGR": {"loss": {"mu2": 0.0}},
    "cross-entropy alone": {"loss": {"mu1": 0.0, "mu2": 0.0}},
    "without MultiAttn": {"model": {"multiattn": False}},
    "without the text's DialogueRNN": {"model": {"text_rnn": False}},
    "past turns only": {"model": {"bidirectional": False}},
    "last step's weights": {"train": {"ema_epochs": 0.0}},
    "averaged over 3 epochs": {"train": {"ema_epochs": 3.0}},
    "normalised by speaker": {"train": {"normalise": "speaker"}},
    "the paper's settings for MELD": paper.MELD,
    "the paper's settings for IEMOCAP": paper.IEMOCAP,
    "logistic regression": {"model": {"name": "logreg"}},
    "logistic regression, ±3 turns": {"model": {"name": "logreg_context", "turns": 3}},
    "BC-LSTM": {"model": {"name": "bclstm"}},
    "DialogueRNN": {"model": {"name": "dialoguernn"}},
}


def main() -> None:
    """Train what is missing, and print and write the table."""
    options = parser("benchmarks.sweep", __doc__)
    options.add_argument("projects", metavar="PROJECT", type=Path, nargs="+", help="a prepared project")
    options.add_argument("--rows", type=Path, required=True, help="the csv file of finished runs, extended")
    options.add_argument("--csv", type=Path, help="also write the table to this file")
    options.add_argument("--seeds", type=int, default=2, help="seeds of each setting; default: 2")
    options.add_argument(
        "--settings",
        metavar="SETTING",
        nargs="+",
        choices=SETTINGS,
        default=list(SETTINGS),
        help="default: all",
    )
    words = options.parse_args()
    for setting in words.settings:
        for project in words.projects:
            run(setting, project, words.seeds, words.rows.absolute())
    found = table(pd.read_csv(words.rows), [project.name for project in words.projects])
    print(found.to_string(index=False))
    if words.csv:
        found.to_csv(words.csv, index=False, lineterminator="\n")


def run(setting: str, project: Path, seeds: int, rows: Path) -> None:
    """Train a setting's seeds on a project, and append their rows; skip those that `rows` has."""
    done = pd.read_csv(rows) if rows.exists() else pd.DataFrame(columns=COLUMNS)
    mine = done[(done["setting"] == setting) & (done["project"] == project.name)]
    missing = sorted(set(range(seeds)) - set(mine["seed"]))
    if not missing:
        return
    with chdir(project), tempfile.TemporaryDirectory() as state:
        params = changed(SETTINGS[setting])
        data = read(params)
        for seed in missing:
            begun = time.monotonic()
            *_, fitted = loop.fit(data, params, seed, torch.device("cpu"), Path(state) / f"{seed}.pt")
            row = [
                setting, project.name, seed, fitted.best["val_weighted_f1"], fitted.best_epoch, len(fitted.history),
                round(time.monotonic() - begun, 1),
            ]  # fmt: skip
            pd.DataFrame([row], columns=COLUMNS).to_csv(
                rows, mode="a", header=not rows.exists(), index=False, lineterminator="\n"
            )


def changed(changes: Changes) -> Params:
    """Return the params of this folder with the changes of a setting."""
    values = read_yaml(PARAMS)
    for section, own in changes.items():
        values[section] = {**values[section], **own}
    return validate(Params, values, PARAMS)


def table(rows: pd.DataFrame, projects: list[str]) -> pd.DataFrame:
    """Return a row per setting, best first: each project's score, the mean difference, and the projects it wins."""
    scores = rows.assign(score=100 * rows["val_weighted_f1"]).set_index(["setting", "project", "seed"])[
        "score"
    ]
    each = (scores - scores.loc[AS_THEY_ARE]).groupby(["setting", "project"]).mean().unstack()[projects]
    means = scores.groupby(["setting", "project"]).mean().unstack()[projects]
    found = means.map("{:.1f}".format).where(means.notna(), "not run")
    found["seeds"] = rows.groupby("setting")["seed"].nunique()
    found["difference"] = each.mean(axis=1)
    found["better on"] = (each > 0).sum(axis=1).astype(str) + " of " + each.notna().sum(axis=1).astype(str)
    found = found.sort_values("difference", ascending=False)
    found["difference"] = found["difference"].map("{:+.1f}".format)
    return found.reset_index()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
