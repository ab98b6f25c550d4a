"""Logistic regression with and without context: what the solver reads of a dialogue."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression as Solver

from tests.train import small
from tests.train.dialogues import CLASSES, DIMS, alone, batch
from tests.train.goals import single
from train.fusion.build import read
from train.fusion.loop import fit
from train.fusion.params import declared
from train.layers.logistic import STRENGTHS, LogisticRegression

LENGTHS = [5, 1, 3]


def windows(data, before: int, after: int) -> list[list[float]]:
    """Each utterance's window, feature by feature, value by value."""
    found = []
    for b, length in enumerate(data.lengths.tolist()):
        for t in range(length):
            places = range(t - before, t + after + 1)
            found.append(
                [
                    data.features[m][b, s, i].item() if 0 <= s < length else 0.0
                    for m in DIMS
                    for i in range(DIMS[m])
                    for s in places
                ]
            )
    return found


@pytest.mark.parametrize("sizes", [(0, 0), (1, 1), (3, 3), (7, 7), (2, 0)])
def test_an_utterance_is_seen_with_the_turns_around_it(sizes):
    data, net = batch(LENGTHS, missing=0.3), LogisticRegression(DIMS, CLASSES, *sizes).double()
    expected = (
        torch.tensor(windows(data, *sizes), dtype=torch.float64) @ net.linear.weight.T + net.linear.bias
    )
    torch.testing.assert_close(net(data).logits, expected)


@pytest.mark.parametrize("sizes", [(0, 0), (2, 2)])
def test_the_solver_fits_the_labelled_windows_of_all_batches(sizes):
    data = batch([9] * 12, missing=0.2)
    data.labels[::5] = -1
    data.features = {m: x.float() for m, x in data.features.items()}
    net = LogisticRegression(DIMS, CLASSES, *sizes)
    strengths = []
    for strength in net.solutions((alone(data, b) for b in range(12)), single([1] * CLASSES)):
        strengths.append(strength)
        known = (data.labels >= 0).numpy()
        solver = Solver(C=strength, max_iter=2000).fit(
            np.array(windows(data, *sizes))[known], data.labels.numpy()[known]
        )
        # The solver stops within its own tolerance, and rounding decides where.
        np.testing.assert_allclose(net.linear.weight.detach(), solver.coef_, rtol=0, atol=2e-3)
    assert strengths == list(STRENGTHS)


def test_context_is_three_turns_unless_params_say_otherwise(tmp_path, monkeypatch):
    kind = declared("logreg_context")
    for changes, sizes in (({}, (3, 3)), ({"turns": 1}, (1, 1)), ({"turns": 2, "causal": True}, (2, 0))):
        net = kind.network(DIMS, CLASSES, kind.params(name="logreg_context", **changes))
        assert (net.before, net.after) == sizes
    assert declared("logreg").network(DIMS, CLASSES, None).linear.in_features == sum(DIMS.values())
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    params = small.params(model={"name": "logreg_context", "turns": 1})
    *_, done = fit(read(params), params, 0, torch.device("cpu"), tmp_path / "state")
    assert [row["strength"] for row in done.history] == list(STRENGTHS)
    assert done.weights["linear.weight"].shape == (3, 3 * sum(small.DIMS.values()))
