"""Answers on held-out folds, and the cells of a table that compares them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from evaluate.experiments.answers import OneLabel
from evaluate.experiments.answers import seeds as seeds_of
from evaluate.experiments.paired import paired_bootstrap
from evaluate.inference import probabilities
from pipeline.params import Params
from train.data.corpus import Corpus
from train.fusion import loop
from train.fusion.build import build
from train.fusion.params import fusion

SCORES = (("accuracy", "WA"), ("unweighted_accuracy", "UA"), ("weighted_f1", "weighted F1"))


def fold_answers(params: Params, data: Corpus, seeds: int) -> tuple[pd.DataFrame, float]:
    """Train on the corpus of a fold.

    Args:
        params: the params, with `corpus.target: single`.
        data: the corpus that they name; its test split is the fold.
        seeds: how many models to train.

    Returns:
        The answers on the test split, as predictions.csv has them, and the mean weighted F1 on val.
    """
    cpu = torch.device("cpu")
    test = np.flatnonzero((data.split == "test") & (data.labels.numpy() >= 0))
    found, val_scores = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as state:
            *_, done = loop.fit(data, params, seed, cpu, Path(state) / "state")
        network, _ = build(fusion(params), data.dims, data.goal)
        network.load_state_dict(done.weights)
        heat = data.goal.calibrated(*loop.answers(network, data, data.labelled_units("val"), cpu)).temperature
        found.append(probabilities(network, data, cpu, temperature=heat)[test])
        val_scores.append(done.best["val_weighted_f1"])
    names = np.array(data.goal.names)
    rows = [data.utterances[i] for i in test]
    frame = {"utterance": [row.utterance for row in rows], "split": "test"}
    frame |= {"dialogue": [row.dialogue for row in rows], "emotion": names[data.labels[test]]}
    frame |= {"predicted": names[np.mean(found, axis=0).argmax(1)]}
    frame |= {f"seed{seed}": names[one.argmax(1)] for seed, one in enumerate(found)}
    return pd.DataFrame(frame), float(np.mean(val_scores))


def cells(folds: list[pd.DataFrame], other: list[pd.DataFrame] | None) -> dict[str, str]:
    """Return WA, UA and weighted F1 over the folds, and p of the answers of all folds against those of `other`."""
    found = [[OneLabel(frame).scores(seed) for seed in seeds_of(frame)] for frame in folds]
    scores = {
        head: mean([float(np.mean([one[metric] for one in seeds])) for seeds in found])
        for metric, head in SCORES
    }
    if other is None or other is folds:
        return scores | {"p": ""}
    p = paired_bootstrap(OneLabel(pd.concat(folds)), OneLabel(pd.concat(other)))
    return scores | {"p": f"{p:.4f}"}


def mean(values: list[float]) -> str:
    """Return mean ± standard deviation, in percent."""
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"
