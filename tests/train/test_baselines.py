"""The baselines: each learns what it can, and none is moved by padding, batch mates or what lies behind a gap."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train import small
from tests.train.dialogues import CLASSES, DIMS, alone, batch, params
from train.fusion.build import MODELS, imported
from train.fusion.build import read as load
from train.fusion.loop import fit

BASELINES = ["majority", "logreg", "bclstm", "dialoguernn"]
SUBSETS = [("text",), ("audio", "visual"), ("text", "audio", "visual")]


def model(name: str, modalities=tuple(DIMS), **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    net = imported(MODELS[name][0])({m: DIMS[m] for m in modalities}, CLASSES, params(**changes)).double()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return net


@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
    modalities=st.sampled_from(SUBSETS),
    bidirectional=st.booleans(),
)
def test_prediction_does_not_depend_on_batch_mates(name, lengths, seed, missing, modalities, bidirectional):
    net = model(name, modalities, bidirectional=bidirectional)
    data = batch(lengths, modalities, missing, seed, parties=5)
    together = net(data).logits.split(lengths)
    for b in range(len(lengths)):
        torch.testing.assert_close(net(alone(data, b)).logits, together[b], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", BASELINES)
def test_padding_is_never_read(name):
    net, data = model(name), batch([5, 2, 3], missing=0.4)
    before = net(data)
    padded = ~data.real()
    for x in data.features.values():
        x[padded] = 1e6
    data.speakers[padded] = 7
    after = net(data)
    torch.testing.assert_close(after.logits, before.logits, rtol=0, atol=0)
    for m, here in after.present.items():
        assert torch.equal(here, data.present[m][data.real()])


@pytest.mark.parametrize("name", ["bclstm", "dialoguernn"])
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
    """BC-LSTM looks both ways; DialogueRNN backwards alone unless it is told otherwise."""
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


@pytest.mark.parametrize("name", BASELINES)
def test_it_is_trained_and_selected_in_the_same_loop(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    p = small.params(model={"name": name}, train={"epochs": 12, "lr": 1e-2})
    data = load(p)
    epochs = tmp_path / "epochs"
    epochs.mkdir()
    *_, done = fit(data, p, 0, torch.device("cpu"), tmp_path / "state", epochs)
    best = max(row["val_weighted_f1"] for row in done.history)
    assert best == done.history[done.best_epoch - 1]["val_weighted_f1"]
    assert best > 0.6 or name == "majority"
    assert len(list(epochs.iterdir())) == len(done.history)
    # The columns that `dvc plots` draws; it drops a plot that lacks one.
    assert {"train_loss", "train_ce", "val_ce", "val_weighted_f1"} <= set(done.history[0])
    if name == "majority":
        counts = data.class_counts() + 1
        torch.testing.assert_close(done.weights["logits"].exp(), counts / counts.sum())


@pytest.mark.parametrize("name", ["bclstm", "dialoguernn"])
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
