"""Which turns the baselines read, and how they treat missing features. (test_models tests every model alike.)"""

from __future__ import annotations

import pytest
import torch

from tests.train import small
from tests.train.dialogues import batch
from tests.train.test_models import network
from train.fusion.build import read as load
from train.fusion.loop import fit
from train.fusion.params import declared


def model(name: str, **changes) -> torch.nn.Module:
    kind = declared(name).params
    known = {
        key: value for key, value in {"dim": 8, "head": 7, **changes}.items() if key in kind.model_fields
    }
    return network(name, params=kind(name=name, **known))


@pytest.mark.parametrize("name", ["bclstm", "dialoguernn", "dialoguegcn"])
def test_a_missing_feature_is_a_learned_vector(name):
    net, data = model(name), batch([5, 2, 3], missing=0.4)
    before = net(data).logits
    for m, x in data.features.items():
        x[~data.present[m]] = 1e6
    torch.testing.assert_close(net(data).logits, before, rtol=0, atol=0)
    before.sum().backward()
    assert all(vector.grad.abs().max() > 0 for vector in net.missing.values())


@pytest.mark.parametrize("name", ["bclstm", "dialoguernn"])
def test_context_reaches_a_turn(name):
    """BC-LSTM reads both directions; DialogueRNN reads the past only, unless params say otherwise."""
    net, data = model(name, bidirectional=False), batch([5])
    before = net(data).logits
    data.features["text"][0, 2] += 1
    moved = (net(data).logits - before).abs().amax(1) > 1e-9
    assert moved.tolist() == ([True] * 5 if name == "bclstm" else [False, False, True, True, True])


def test_dialogue_rnn_hears_who_speaks_and_bc_lstm_does_not():
    for name, hears in (("dialoguernn", True), ("bclstm", False)):
        net, data = model(name), batch([6], parties=1)
        before = net(data).logits
        data.speakers[0] = torch.tensor([0, 1, 0, 1, 0, 1])
        assert bool((net(data).logits - before).abs().max() > 1e-9) == hears


def test_the_majority_is_the_labels_shares(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    p = small.params(model={"name": "majority"})
    data = load(p)
    *_, done = fit(data, p, 0, torch.device("cpu"), tmp_path / "state")
    counts = data.goal.counts + 1
    torch.testing.assert_close(done.weights["logits"].exp(), counts / counts.sum())


@pytest.mark.parametrize("name", ["bclstm", "dialoguernn", "dialoguegcn", "mmgcn", "m3net"])
def test_bf16_follows_double(name):
    data = batch([3, 6, 1], missing=0.2)
    net = model(name, dim=32)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    exact = net(data).logits
    data.features = {m: x.float() for m, x in data.features.items()}
    net.float()
    torch.testing.assert_close(net(data).logits.double(), exact, rtol=0, atol=2e-5)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(data).logits
        logits.float().sum().backward()
    torch.testing.assert_close(logits.double(), exact, rtol=0.1, atol=0.1)
    assert all(torch.isfinite(x.grad).all() for x in net.parameters())
