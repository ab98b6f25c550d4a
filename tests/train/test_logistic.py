"""Logistic regression with and without context: what the solver reads of a dialogue."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression as Solver

from tests.train import small
from tests.train.dialogues import CLASSES, DIMS, alone, batch
from train.fusion.build import read
from train.fusion.loop import fit
from train.fusion.params import declared
from train.layers.logistic import STRENGTHS, LogisticRegression

LENGTHS = [5, 1, 3]


def windows(data, turns: int) -> list[list[float]]:
    """Each utterance's window, feature by feature, value by value."""
    found = []
    for b, length in enumerate(data.lengths.tolist()):
        for t in range(length):
            places = range(t - turns, t + turns + 1)
            found.append(
                [
                    data.features[m][b, s, i].item() if 0 <= s < length else 0.0
                    for m in DIMS
                    for i in range(DIMS[m])
                    for s in places
                ]
            )
    return found


@pytest.mark.parametrize("turns", [0, 1, 3, 7])
def test_an_utterance_is_seen_with_the_turns_around_it(turns):
    data, net = batch(LENGTHS, missing=0.3), LogisticRegression(DIMS, CLASSES, turns).double()
    expected = torch.tensor(windows(data, turns), dtype=torch.float64) @ net.linear.weight.T + net.linear.bias
    torch.testing.assert_close(net(data).logits, expected)


@pytest.mark.parametrize("turns", [0, 2])
def test_the_solver_fits_the_labelled_windows_of_all_batches(turns):
    data = batch([9] * 12, missing=0.2)
    data.labels[::5] = -1
    data.features = {m: x.float() for m, x in data.features.items()}
    net = LogisticRegression(DIMS, CLASSES, turns)
    strengths = []
    for strength in net.solutions(alone(data, b) for b in range(12)):
        strengths.append(strength)
        known = (data.labels >= 0).numpy()
        solver = Solver(C=strength, max_iter=2000).fit(
            np.array(windows(data, turns))[known], data.labels.numpy()[known]
        )
        # The solver stops within its own tolerance, and rounding decides where.
        np.testing.assert_allclose(net.linear.weight.detach(), solver.coef_, rtol=0, atol=2e-3)
    assert strengths == list(STRENGTHS)


def test_context_is_three_turns_unless_params_say_otherwise(tmp_path, monkeypatch):
    kind = declared("logreg_context")
    for turns, size in ((None, 7), (1, 3)):
        params = kind.params(name="logreg_context", **({} if turns is None else {"turns": turns}))
        net = kind.network(DIMS, CLASSES, params)
        assert net.linear.in_features == size * sum(DIMS.values())
    assert declared("logreg").network(DIMS, CLASSES, None).linear.in_features == sum(DIMS.values())
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    params = small.params(model={"name": "logreg_context", "turns": 1})
    *_, done = fit(read(params), params, 0, torch.device("cpu"), tmp_path / "state")
    assert [row["strength"] for row in done.history] == list(STRENGTHS)
    assert done.weights["linear.weight"].shape == (3, 3 * sum(small.DIMS.values()))
