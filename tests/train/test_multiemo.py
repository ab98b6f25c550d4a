"""MultiEMO against its loop-written reference, and what must hold for any batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.train.dialogues import DIMS, alone, batch, loss_params, model, params
from tests.train.goals import single
from train.layers.layout import Layout
from train.models.multiemo import reference
from train.models.multiemo.losses import MultiEMOLoss

LENGTHS = [3, 6, 1, 4, 6]
SUBSETS = [("text",), ("audio",), ("text", "visual"), ("audio", "visual"), ("text", "audio", "visual")]


def agree(p, modalities, data):
    net = model(p, modalities)
    weights = dict(net.named_parameters())
    out = net(data)
    logits, z, fused = reference.multiemo(weights, data, p)
    torch.testing.assert_close(out.logits, logits, rtol=0, atol=1e-9)
    torch.testing.assert_close(out.z, z, rtol=0, atol=1e-9)
    pull = {}
    for m in fused:
        torch.testing.assert_close(out.fused[m], fused[m], rtol=0, atol=1e-9)
        pull[m] = torch.randn_like(fused[m])
    pull_z, pull_logits = torch.randn_like(z), torch.randn_like(logits)
    sums = [
        (a * pull_logits).sum() + (b * pull_z).sum() + sum((c[m] * pull[m]).sum() for m in pull)
        for a, b, c in ((out.logits, out.z, out.fused), (logits, z, fused))
    ]
    ours, theirs = (
        torch.autograd.grad(total, list(weights.values()), materialize_grads=True) for total in sums
    )
    for name, a, b in zip(weights, ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("modalities", SUBSETS)
@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_equals_reference(modalities, missing):
    agree(params(), modalities, batch(LENGTHS, modalities, missing))


@pytest.mark.parametrize(
    "changes",
    [
        {"bidirectional": False},
        {"text_rnn": False},
        {"multiattn": False},
        {"layers": 1, "heads": 4},
        {"causal": True},
    ],
)
def test_ablations_equal_reference(changes):
    agree(params(**changes), tuple(DIMS), batch(LENGTHS, missing=0.2))


@pytest.mark.parametrize(
    "changes",
    [{}, {"bidirectional": False, "text_rnn": False, "head": 16}],
    ids=["iemocap", "meld"],
)
def test_published_form_equals_reference(changes):
    agree(params(compat="published", **changes), tuple(DIMS), batch(LENGTHS))


def test_text_without_recurrence_alone():
    agree(params(text_rnn=False), ("text",), batch(LENGTHS, ("text",)))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("compat", ["default", "published"])
def test_dense_layout_of_the_gpu_computes_the_same(monkeypatch, compat, causal):
    def dense(lengths, speakers, padded, dense):
        return Layout(lengths, speakers, padded, dense=True)

    monkeypatch.setattr("train.models.multiemo.network.Layout", dense)
    agree(
        params(compat=compat, causal=causal),
        tuple(DIMS),
        batch(LENGTHS, missing=0.3 if compat == "default" else 0.0),
    )
    agree(params(text_rnn=False), tuple(DIMS), batch(LENGTHS, missing=1.0))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=6),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    st.sampled_from(SUBSETS),
    st.booleans(),
)
def test_prediction_does_not_depend_on_batch_mates(lengths, seed, missing, modalities, multiattn):
    net = model(params(multiattn=multiattn), modalities)
    data = batch(lengths, modalities, missing, seed, parties=5)
    together = net(data).logits.split(lengths)
    for b in range(len(lengths)):
        torch.testing.assert_close(net(alone(data, b)).logits, together[b], rtol=0, atol=1e-10)


@pytest.mark.parametrize("compat", ["default", "published"])
def test_one_utterance_trains(compat):
    net, data = model(params(compat=compat)), batch([1])
    loss = MultiEMOLoss(loss_params(), single([3, 1, 0, 2])).double()(net(data), data.labels)
    loss["total"].backward()
    assert all(torch.isfinite(value) for value in loss.values())
    assert all(torch.isfinite(x.grad).all() for x in net.parameters() if x.grad is not None)


def test_every_feature_of_a_modality_missing():
    data = batch([4, 2], missing=0.0)
    data.features["audio"].zero_()
    data.present["audio"].zero_()
    agree(params(), tuple(DIMS), data)


def test_values_behind_missing_and_padding_are_never_read():
    net, data = model(params()), batch([5, 2, 3], missing=0.4)
    before = net(data).logits
    for m, x in data.features.items():
        x[~data.present[m]] = 1e6
    data.speakers[torch.arange(5) >= data.lengths[:, None]] = 7
    torch.testing.assert_close(net(data).logits, before, rtol=0, atol=0)


def test_party_is_remembered_without_cap():
    """Each of 40 parties speaks twice; swapping two of them in the second round must show."""
    net = model(params(bidirectional=False))
    data = batch([80], parties=1)
    data.speakers[0] = torch.arange(80) % 40
    before = net(data).logits
    data.speakers[0, [47, 48]] = data.speakers[0, [48, 47]]
    assert (net(data).logits - before).abs().max() > 1e-6


def test_single_precision_and_bf16_follow_double():
    p, data = params(dim=32, heads=4), batch(LENGTHS, missing=0.2)
    net = model(p)
    exact = net(data).logits
    data.features = {m: x.float() for m, x in data.features.items()}
    net.float()
    torch.testing.assert_close(net(data).logits.double(), exact, rtol=0, atol=2e-5)
    criterion = MultiEMOLoss(loss_params(), single([3, 1, 4, 2]))
    with torch.autocast("cpu", torch.bfloat16):
        out = net(data)
        total = criterion(out, data.labels)["total"]
    assert out.logits.dtype == torch.bfloat16
    assert total.dtype == torch.float32
    total.backward()
    assert all(torch.isfinite(x.grad).all() for x in net.parameters())
    torch.testing.assert_close(out.logits.double(), exact, rtol=0.1, atol=0.15)


def test_attention_stays_in_single_precision_on_the_cpu(monkeypatch):
    """The kernel for bfloat16 takes ten times as long there; the products around it stay in bfloat16."""
    attention, seen = F.scaled_dot_product_attention, set()

    def watch(*inputs):
        answer = attention(*inputs)
        seen.add((*(x.dtype for x in inputs[:3]), answer.dtype))
        return answer

    monkeypatch.setattr(F, "scaled_dot_product_attention", watch)
    data, net = batch(LENGTHS, missing=0.2), model(params()).float()
    data.features = {m: x.float() for m, x in data.features.items()}
    with torch.autocast("cpu", torch.bfloat16):
        assert net(data).logits.dtype == torch.bfloat16
    assert seen == {(torch.float32,) * 4}


def test_same_gradient_every_time_with_deterministic_algorithms():
    data, grads = batch(LENGTHS, missing=0.3), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            net = model(params())
            criterion = MultiEMOLoss(loss_params(), single([3, 1, 4, 2])).double()
            criterion(net(data), data.labels)["total"].backward()
            grads.append([x.grad for x in net.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_causal_attention_has_no_weight_on_later_turns():
    shown = model(params(causal=True)).attention(batch([5], missing=0.2))
    assert len(shown) == 6
    for weights in shown.values():
        torch.testing.assert_close(weights.triu(1), torch.zeros_like(weights), rtol=0, atol=0)
        assert weights.sum(1).max() == pytest.approx(1)
