"""Advise on a finished run, for the last lines of `train` and `evaluate` and for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipeline.params import Params
from train.data.corpus import Corpus
from train.truth import known

FEW_VAL = 300  # utterances: with fewer, the standard error of an accuracy near 50% exceeds 2.9 points
FEW_STEPS = 10  # per epoch


def hints(data: Corpus, params: Params, history: Mapping[int, Sequence[Mapping[str, float]]]) -> list[str]:
    """Return a sentence for each property of the run that makes its scores low or uncertain; empty if there is none.

    Args:
        data: the corpus.
        params: the params of the run.
        history: seed → one row of losses and scores per epoch. A solver's rows have no `lr`.
    """
    train = params.train
    val = {seed: [row[f"val_{data.goal.main}"] for row in rows] for seed, rows in history.items()}
    descended = [seed for seed, rows in history.items() if "lr" in rows[0]]
    truth = data.labels[data.split == "val"]
    lowest = data.goal.baseline(truth[known(truth)])
    stuck = [seed for seed, scores in val.items() if max(scores) <= lowest]
    late = [s for s in descended if s not in stuck and val[s].index(max(val[s])) + 1 == train.epochs]
    scored = int(known(truth).sum())
    steps = math.ceil(len(data.labelled_units("train")) / train.batch_size)
    found = []
    if stuck and params.model.name != "majority":
        found.append(
            f"{_seeds(stuck)}: no epoch beats {data.goal.constant_name} on val ({data.goal.title} {100 * lowest:.1f}), "
            "so the model learned nothing useful; change train.lr, raise train.epochs, or lower train.batch_size"
        )
    if late:
        found.append(
            f"{_seeds(late)}: the best epoch is the last of train.epochs={train.epochs}; val may still improve, so "
            "raise train.epochs"
        )
    if descended and steps < FEW_STEPS:
        count = "1 optimiser step" if steps == 1 else f"{steps} optimiser steps"
        found.append(
            f"an epoch has only {count} (train.batch_size={train.batch_size} {data.kind}), so "
            f"{len(history[descended[0]])} epochs are {steps * len(history[descended[0]])} steps; if training ends "
            "early or below logistic regression, lower train.batch_size or raise train.epochs"
        )
    if scored < FEW_VAL and any(len(scores) > 1 for scores in val.values()):
        error = f"; the standard error of an accuracy on them is up to {50 / math.sqrt(scored):.1f} points"
        found.append(
            f"only {scored} labelled val utterances choose the epoch{error * (data.goal.kind != 'values')}, so the "
            "chosen epoch depends on chance"
        )
    return found


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
