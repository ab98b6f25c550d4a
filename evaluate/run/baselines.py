"""Fit logistic regression to the features of a run: the baseline that the report shows beside the model."""

from __future__ import annotations

import copy

import torch

from evaluate.inference import BATCH, probabilities
from evaluate.run.results import Prediction
from train.data.corpus import Corpus
from train.data.dialogues import Dialogues
from train.layers.logistic import LogisticRegression
from train.truth import known


def logistic(data: Corpus) -> Prediction | None:
    """Return the predictions of `model.name: logreg`, fitted to train and chosen on val; the test split is not read.

    None for frames, which logistic regression does not read, and if train has a single label.
    """
    goal = data.goal
    one_label = goal.kind in ("single", "soft") and int((goal.counts > 0).sum()) < 2
    if one_label or not isinstance(data, Dialogues):
        return None
    train, val = (
        [data.batch(group) for group in data.groups(data.labelled_units(split), BATCH)]
        for split in ("train", "val")
    )
    truth = torch.cat([batch.labels for batch in val])
    here = known(truth)
    model = LogisticRegression(data.dims, len(goal.names), before=0, after=0)
    fitted = []
    for _ in model.solutions(train, goal):
        with torch.no_grad():
            logits = torch.cat([model(batch).logits for batch in val])[here]
        score = goal.scores(logits, truth[here])[f"val_{goal.main}"]
        fitted.append((score, copy.deepcopy(model), goal.calibrated(logits, truth[here])))
    _, chosen, calibration = max(fitted, key=lambda one: one[0])
    answers = probabilities(chosen, data, torch.device("cpu"), temperature=calibration.temperature)
    return Prediction(0, answers, temperature=calibration.temperature, thresholds=calibration.thresholds)
