"""Calibrate probabilities on val with one temperature per model (Guo et al. 2017, arXiv 1706.04599, section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from scipy.optimize import minimize_scalar
from torch import Tensor

# Few utterances may be fitted best by no temperature at all; then the bound is the answer.
LOWEST, HIGHEST = 0.1, 10.0


@dataclass(frozen=True)
class Calibration:
    """What turns a model's answers into calibrated ones.

    Attributes:
        temperature: divides the logits.
        thresholds: the probability from which each label applies, for several labels per utterance; else empty.
    """

    temperature: float = 1.0
    thresholds: list[float] = field(default_factory=list)


def temperature(logits: Tensor, truth: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Return T, for which logits / T have the least loss.

    Args:
        logits: [N, C] of the labelled utterances of val.
        truth: of the same utterances.
        loss: the mean loss of logits and truth, such as cross-entropy.
    """
    logits = logits.double()

    def at(log: float) -> float:
        return loss(logits / math.exp(log), truth).item()

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    return math.exp(float(minimize_scalar(at, bounds=bounds, method="bounded").x))
