"""Probabilities are calibrated on val by one temperature, which the model's record keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from evaluate.run import metrics
from train.calibration import HIGHEST, LOWEST, temperature


def overconfident(n: int = 4000, by: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits whose softmax is right once they are divided by `by`, and labels drawn from it."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 5, generator=draw)
    labels = torch.multinomial(logits.softmax(1), 1, generator=draw)[:, 0]
    return by * logits, labels


@pytest.mark.parametrize("by", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(by: float) -> None:
    logits, labels = overconfident(by=by)
    assert temperature(logits, labels, cross_entropy) == pytest.approx(by, rel=0.08)


def test_the_calibration_error_falls() -> None:
    logits, labels = overconfident()
    found = temperature(logits, labels, cross_entropy)
    before, after = (
        metrics.calibration(labels.numpy(), (logits / t).softmax(1).numpy())["error"] for t in (1.0, found)
    )
    assert before > 0.15
    assert after < 0.05


def test_the_temperature_is_bounded() -> None:
    """All right, all wrong, one utterance: no temperature is best."""
    logits = 5 * torch.eye(4)
    right, wrong = torch.arange(4), torch.tensor([1, 2, 3, 0])
    assert LOWEST <= temperature(logits, right, cross_entropy) < 2 * LOWEST
    assert HIGHEST / 2 < temperature(logits, wrong, cross_entropy) <= HIGHEST
    assert LOWEST <= temperature(logits[:1], right[:1], cross_entropy) <= HIGHEST


def test_the_probabilities_before_are_found_again() -> None:
    logits, _ = overconfident(50)
    calibrated = (logits.double() / 3).softmax(1).numpy()
    np.testing.assert_allclose(metrics.uncalibrated(calibrated, 3.0), logits.double().softmax(1), rtol=1e-9)


def test_the_risk_falls_with_the_coverage() -> None:
    truth = np.array([0, 0, 0, 0, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.65, 0.35], [0.6, 0.4]])
    assert metrics.selective(truth, p) == {
        "aurc": pytest.approx((0 + 0 + 0 + 0 + 0.2) / 5),
        "risk_at_80": 0.0,
    }
    assert metrics.selective(truth[:1], p[:1]) == {"aurc": 0.0, "risk_at_80": 0.0}
