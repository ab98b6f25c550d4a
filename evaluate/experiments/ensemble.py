"""Score the ensemble of an experiment's seeds: the mean of their calibrated probabilities, or of their values."""

from __future__ import annotations

from typing import Any

import pandas as pd

from evaluate.experiments.answers import SEED, TOGETHER, Answers, seeds

ALONE = f"{SEED}0"


def named(title: str, answers: pd.DataFrame) -> str:
    """Return the title of the ensemble's row, below the row `title` of its seeds."""
    return f"{title}, ensemble of {len(seeds(answers))} seeds"


def ensemble(kind: type[Answers], table: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """Return the ensemble's scores and answers, or None if it has no test answer of its own.

    The scores have the form of `splits.test` in details.json, with one seed. In the answers, the column `seed0` is the
    ensemble. It is None for one seed, and for a solver, whose seeds agree on every test utterance.

    Args:
        kind: how the experiment is scored.
        table: its predictions.csv. The column `predicted` is the ensemble's answer.
    """
    if kind(table).agree():
        return None
    alone = table.drop(columns=[column for seed in seeds(table) for column in kind.columns(table, seed)])
    pairs = zip(kind.columns(table, ALONE), kind.columns(table, TOGETHER), strict=True)
    alone = alone.assign(**{seed: table[together] for seed, together in pairs})
    scores = kind(alone).scores(ALONE)
    labels = {"labels": scores.pop("labels")} if "labels" in scores else {}
    return {
        metric: {"mean": value, "sd": None, "seeds": [value]} for metric, value in scores.items()
    } | labels, alone
