"""Linear models by scikit-learn, one for each `corpus.target`.

A solver maps features x [n, D], the truth of n labelled utterances, and an inverse regularisation strength to weights
[K, D] and a bias [K] of logits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline.errors import UserError
from pipeline.params import TargetKind

Solution = tuple[np.ndarray, np.ndarray]
Solver = Callable[[np.ndarray, np.ndarray, int, float], Solution]
NEVER = -1e9  # the logit of a label that is absent from training, which is therefore never predicted
ALWAYS = 1e9
STEPS = 2000


def single(x: np.ndarray, labels: np.ndarray, outputs: int, strength: float) -> Solution:
    """Fit multinomial logistic regression to labels [n].

    Raises:
        UserError: all labels are equal.
    """
    return _multinomial(x, labels, None, outputs, strength)


def soft(x: np.ndarray, shares: np.ndarray, outputs: int, strength: float) -> Solution:
    """Fit multinomial logistic regression to shares [n, K]: each label of an utterance, weighted by its share.

    Raises:
        UserError: all votes are for one label.
    """
    rows, labels = np.nonzero(shares)
    return _multinomial(x[rows], labels, shares[rows, labels], outputs, strength)


def multi(x: np.ndarray, there: np.ndarray, outputs: int, strength: float) -> Solution:
    """Fit one binary logistic regression per label to [n, K] of 0 and 1 (one-vs-rest)."""
    weights, bias = np.zeros((outputs, x.shape[1])), np.empty(outputs)
    for k, column in enumerate(there.T):
        if len(np.unique(column)) < 2:
            bias[k] = ALWAYS if column[0] else NEVER
        else:
            fitted = _fitted(x, column.astype(int), None, strength)
            weights[k], bias[k] = fitted.coef_[0], fitted.intercept_[0]
    return weights, bias


def values(x: np.ndarray, numbers: np.ndarray, outputs: int, strength: float) -> Solution:
    """Fit one ridge regression per value to numbers [n, K]; NaN is left out, and a value without ratings gets 0."""
    weights, bias = np.zeros((outputs, x.shape[1])), np.zeros(outputs)
    for k, column in enumerate(numbers.T):
        rated = ~np.isnan(column)
        if rated.any():
            fitted = Ridge(alpha=1 / strength).fit(x[rated], column[rated])
            weights[k], bias[k] = fitted.coef_, fitted.intercept_
    return weights, bias


SOLVERS: dict[TargetKind, Solver] = {"single": single, "soft": soft, "multi": multi, "values": values}


def _multinomial(
    x: np.ndarray, labels: np.ndarray, shares: np.ndarray | None, outputs: int, strength: float
) -> Solution:
    if len(np.unique(labels)) < 2:
        raise UserError("the train split has a single label; check data/labels.csv and train.fold")
    fitted = _fitted(x, labels, shares, strength)
    coef, intercept = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:
        coef = np.concatenate([-coef / 2, coef / 2])
        intercept = np.concatenate([-intercept / 2, intercept / 2])
    weights, bias = np.zeros((outputs, x.shape[1])), np.full(outputs, NEVER)
    weights[fitted.classes_], bias[fitted.classes_] = coef, intercept
    return weights, bias


def _fitted(
    x: np.ndarray, labels: np.ndarray, shares: np.ndarray | None, strength: float
) -> LogisticRegression:
    with warnings.catch_warnings():
        # After 2,000 steps a solution is useful even if it has not converged; val selects the best strength.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=STEPS).fit(x, labels, sample_weight=shares)
