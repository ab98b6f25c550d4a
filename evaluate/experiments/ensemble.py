"""Score the ensemble of an experiment's seeds: the mean of their calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evaluate.experiments.paired import is_seed
from evaluate.run.metrics import per_label, scores


def has_labels(test: Mapping[str, Any]) -> bool:
    """Return whether a run predicts one label per utterance, by `splits.test` of its details.json."""
    return "weighted_f1" in test


def named(title: str, answers: pd.DataFrame) -> str:
    """Return the title of the ensemble's row, below the row `title` of its seeds."""
    return f"{title}, ensemble of {len(_seeds(answers))} seeds"


def ensemble(answers: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """Return the ensemble's scores and answers, or None if it has no test answer of its own.

    The scores have the form of `splits.test` in details.json, with one seed. In the answers, the column `seed0` is the
    ensemble. It is None for one seed, and for a solver, whose seeds agree on every test utterance.

    Args:
        answers: predictions.csv of an experiment. Its column `predicted` is the ensemble's answer.
    """
    seeds = _seeds(answers)
    test = (answers["split"] == "test") & (answers["emotion"] != "")
    if (answers.loc[test, seeds].nunique(axis=1) <= 1).all():
        return None
    alone = answers.drop(columns=seeds).assign(seed0=answers["predicted"])
    truth, guess = alone.loc[test, "emotion"], alone.loc[test, "seed0"]
    names = pd.Index(sorted({*truth, *guess}))
    numbers = names.get_indexer(truth), names.get_indexer(guess)
    found: dict[str, Any] = {
        metric: {"mean": value, "sd": None, "seeds": [value]}
        for metric, value in scores(*numbers, len(names)).items()
    }
    return found | {"labels": per_label(*numbers, list(names))}, alone


def _seeds(answers: pd.DataFrame) -> list[str]:
    return [column for column in answers if is_seed(column)]
