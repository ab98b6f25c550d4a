"""QMNN against its equations in numpy, one matrix at a time, and what makes its states quantum states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.train.dialogues import DIMS, batch
from tests.train.test_models import network
from tests.train.test_sdt import code
from train.models.qmnn import Params
from train.models.qmnn.network import Unitary

LENGTHS = [4, 1, 6]
D = 8
SUBSETS = [tuple(DIMS), ("text", "visual"), ("audio",)]


def model(modalities=tuple(DIMS)):
    return network("qmnn", modalities, Params(name="qmnn", dim=D, head=7))


def expit(x):
    return 1 / (1 + np.exp(-x))


def softmax(values):
    return np.exp(values) / np.exp(values).sum()


def unitary(parts):
    """Return exp(A − A†) from the eigenvalues of the Hermitian matrix −i (A − A†)."""
    free = parts[0] + 1j * parts[1]
    values, vectors = np.linalg.eigh(-1j * (free - free.conj().T))
    return vectors @ np.diag(np.exp(1j * values)) @ vectors.conj().T


def mixture(w, data, b, t, modalities):
    """Return ρ_t, a density matrix."""
    lengths, states = [], []
    for m in modalities:
        if not data.present[m][b, t]:
            continue
        u = np.maximum(w[f"project.{m}.weight"] @ data.features[m][b, t].numpy() + w[f"project.{m}.bias"], 0)
        if (length := np.linalg.norm(u)) == 0:
            continue
        speaker = w[f"speakers.{m}.map.weight"] @ code(data.speakers[b, t].item()).numpy()
        phase = t * w[f"rates.{m}"] + 2 * np.pi * expit(speaker)
        lengths.append(length)
        states.append(u / length * np.exp(1j * phase))
    if not states:
        return np.eye(D) / D
    return sum(a * np.outer(s, s.conj()) for a, s in zip(softmax(lengths), states, strict=True))


def reference(w, data, modalities):
    inward, onward, share = unitary(w["inward.parts"]), unitary(w["onward.parts"]), expit(w["balance"])
    vectors = w["measure"][0] + 1j * w["measure"][1]
    for b, length in enumerate(data.lengths.tolist()):
        h = np.eye(D) / D
        for t in range(length):
            rho = mixture(w, data, b, t, modalities)
            h = share * inward @ rho @ inward.conj().T + (1 - share) * onward @ h @ onward.conj().T
            np.testing.assert_allclose(np.trace(h), 1, atol=1e-9)
            assert np.linalg.eigvalsh(h).min() > -1e-9
            p = [(v.conj() @ h @ v).real / (v.conj() @ v).real for v in vectors]
            hidden = np.maximum(w["hidden.weight"] @ (D * np.array(p)) + w["hidden.bias"], 0)
            yield w["classify.weight"] @ hidden + w["classify.bias"]


@pytest.mark.parametrize("modalities", SUBSETS)
@pytest.mark.parametrize("missing", [0.0, 0.5, 1.0])
def test_it_computes_its_equations(modalities, missing):
    net, data = model(modalities), batch(LENGTHS, modalities, missing)
    w = {name: value.numpy() for name, value in net.state_dict().items()}
    expected = np.array(list(reference(w, data, modalities)))
    np.testing.assert_allclose(net(data).logits.detach().numpy(), expected, rtol=0, atol=1e-8)


def test_a_feature_that_relu_sets_to_zero_is_no_part_of_the_mixture():
    net, data = model(), batch(LENGTHS)
    with torch.no_grad():
        net.project["text"].weight.zero_()
        net.project["text"].bias.fill_(-1)
    before = net(data).logits
    data.present["text"].zero_()
    torch.testing.assert_close(net(data).logits, before, rtol=0, atol=0)
    before.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in net.parameters() if x.grad is not None)


def test_unitary_matrices_stay_unitary_under_an_ordinary_optimiser():
    torch.manual_seed(0)
    matrix, target = Unitary(6), torch.randn(6, 6, dtype=torch.complex64)
    assert torch.equal(matrix(), torch.eye(6, dtype=torch.complex64))
    optimiser = torch.optim.Adam(matrix.parameters(), lr=0.1)
    losses = []
    for _ in range(60):
        loss = (matrix() - target).abs().square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    torch.testing.assert_close(matrix() @ matrix().mH, torch.eye(6, dtype=torch.complex64), rtol=0, atol=1e-5)


def test_only_the_past_is_read():
    net, data = model(), batch([5])
    before = net(data).logits
    data.features["audio"][0, 2] += 1
    moved = (net(data).logits - before).abs().amax(1) > 1e-9
    assert moved.tolist() == [False, False, True, True, True]


def test_bf16_follows_double():
    net, data = model(), batch(LENGTHS, missing=0.2)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    exact = net(data).logits
    data.features = {m: x.float() for m, x in data.features.items()}
    with torch.autocast("cpu", torch.bfloat16):
        logits = net.float()(data).logits
        logits.float().sum().backward()
    torch.testing.assert_close(logits.double(), exact, rtol=0.1, atol=0.1)
    assert all(torch.isfinite(x.grad).all() for x in net.parameters())
