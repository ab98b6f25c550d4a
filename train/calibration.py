"""Calibrate probabilities on val with one temperature per model (Guo et al. 2017, arXiv 1706.04599, section 4.2)."""

from __future__ import annotations

import math

from scipy.optimize import minimize_scalar
from torch import Tensor, nn

# Few utterances may be fitted best by no temperature at all; then the bound is the answer.
LOWEST, HIGHEST = 0.1, 10.0


def temperature(logits: Tensor, labels: Tensor) -> float:
    """Return T, for which the softmax of logits / T has the least cross-entropy.

    Args:
        logits: [N, C] of the labelled utterances of val.
        labels: [N].
    """
    logits = logits.double()

    def loss(log: float) -> float:
        return nn.functional.cross_entropy(logits / math.exp(log), labels).item()

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded").x))
