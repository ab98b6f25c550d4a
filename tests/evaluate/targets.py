"""Made-up runs for the targets other than one label, with the shape of real ones."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd

from evaluate.run.results import Run
from pipeline.params import PARAMS, Params
from pipeline.strict import validate
from tests.evaluate.conftest import fake_run

NAMES = ["joy", "anger", "calm"]


def run_of(kind: str, seeds: int = 2, values: tuple[str, ...] = ("valence", "sentiment"), **more: Any) -> Run:
    """Return a run whose answers are the truth with noise; some utterances are unlabelled, some values unrated."""
    rng = np.random.default_rng(3)
    run = fake_run(seeds, emotions=NAMES, unlabelled=0.0, **more)
    count = len(run.truth)
    if kind == "values":
        truth = rng.integers(-6, 7, (count, len(values))) / 2
        truth[rng.random(truth.shape) < 0.1] = math.nan
    elif kind == "multi":
        truth = (rng.random((count, 3)) < 0.4).astype(float)
    else:
        votes = rng.integers(0, 4, (count, 3)) + np.eye(3)[run.truth]
        truth = votes / votes.sum(axis=1, keepdims=True)
    truth[::9] = math.nan
    shares = None
    if kind == "soft":
        shares, top = truth, truth.max(axis=1, keepdims=True)
        truth = np.where((shares == top).sum(axis=1) == 1, np.nan_to_num(shares).argmax(axis=1), -1)

    def noisy(scale: float) -> np.ndarray:
        known = np.nan_to_num(truth if shares is None else shares, nan=0.3)
        found = known + rng.normal(scale=scale, size=known.shape)
        if kind == "values":
            return found
        found = np.clip(found, 0.01, 0.99)
        return found / found.sum(axis=1, keepdims=True) if kind == "soft" else found

    predictions = [
        dataclasses.replace(
            p,
            probabilities=noisy(0.2),
            without={m: noisy(0.6) for m in p.without},
            thresholds=[0.4, 0.5, 0.6] if kind == "multi" else (),
        )
        for p in run.predictions
    ]
    corpus = {"target": kind, "values": list(values) if kind == "values" else []}
    params = run.params.model_dump()
    params["corpus"] |= corpus
    params["loss"] = {"mu1": 0.0}
    scores = {"soft": "weighted_f1", "multi": "macro_f1", "values": "ccc"}
    term = "error" if kind == "values" else "ce"
    history = {
        seed: pd.DataFrame(
            {
                "epoch": frame["epoch"], "lr": frame["lr"], "train_loss": frame["train_loss"],
                f"train_{term}": frame["train_ce"], f"val_{term}": frame["val_ce"],
                f"val_{scores[kind]}": frame["val_weighted_f1"],
            }
        )
        for seed, frame in run.history.items()
    }  # fmt: skip
    return dataclasses.replace(
        run, params=validate(Params, params, PARAMS), truth=truth, shares=shares, predictions=predictions,
        history=history,
    )  # fmt: skip
