"""MERBench's models without context against their equations, evaluated one utterance at a time."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.train.dialogues import CLASSES, DIMS, batch
from tests.train.test_models import network
from train.fusion.params import declared

LENGTHS = [4, 1, 3]


def made(name: str, modalities=tuple(DIMS), **changes):
    return network(name, modalities, declared(name).params(**{"name": name, "dim": 8, **changes}))


def utterances(data):
    """Yield each real utterance's {modality: feature or None}."""
    for b, length in enumerate(data.lengths.tolist()):
        for t in range(length):
            yield {m: x[b, t] if data.present[m][b, t] else None for m, x in data.features.items()}


def dense(w, name, x):
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def mlp(w, name, x):
    return F.relu(dense(w, f"{name}.3", F.relu(dense(w, f"{name}.1", x))))


def hidden(w, m, x):
    return torch.zeros(8, dtype=torch.float64) if x is None else mlp(w, f"hidden.encode.{m}", x)


@pytest.mark.parametrize("modalities", [tuple(DIMS), ("audio", "visual"), ("text",)])
@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_attention_is_a_weighted_sum(modalities, missing):
    net, data = made("attention", modalities), batch(LENGTHS, modalities, missing)
    w, expected = net.state_dict(), []
    for features in utterances(data):
        h = [hidden(w, m, features[m]) for m in modalities]
        weights = dense(w, "weigh.1", mlp(w, "weigh.0", torch.cat(h)))
        fused = sum(weights[i] * h[i] for i in range(len(h)))
        expected.append(dense(w, "classify", fused))
    torch.testing.assert_close(net(data).logits, torch.stack(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize("modalities", [tuple(DIMS), ("audio", "visual"), ("text",)])
@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_lmf_is_the_tensor_product_that_its_factors_span(modalities, missing):
    """The full tensor over [h; 1] of every modality, summed entry by entry."""
    rank = 3
    net, data = made("lmf", modalities, rank=rank), batch(LENGTHS, modalities, missing)
    w, expected = net.state_dict(), []
    letters = "abc"[: len(modalities)]
    factors = [
        torch.cat([w[f"factors.{i}.weight"], w[f"factors.{i}.bias"][:, None]], 1).unflatten(0, (rank, 8))
        for i in range(len(modalities))
    ]
    spec = ",".join(f"rd{letter}" for letter in letters)
    tensor = torch.einsum(f"r,{spec}->d{letters}", w["mix.weight"][0], *factors)
    one = torch.ones(1, dtype=torch.float64)
    for features in utterances(data):
        h = [torch.cat([hidden(w, m, features[m]), one]) for m in modalities]
        fused = torch.einsum(f"d{letters},{','.join(letters)}->d", tensor, *h) + w["bias"]
        expected.append(dense(w, "classify", fused))
    torch.testing.assert_close(net(data).logits, torch.stack(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["attention", "lmf"])
def test_neither_context_nor_speaker_is_read(name):
    net, data = made(name), batch(LENGTHS)
    before = net(data).logits
    data.speakers += 1
    data.features["text"][0, 2] += 1
    moved = (net(data).logits - before).abs().amax(1) > 1e-9
    assert moved.nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize("name", ["attention", "lmf"])
def test_bf16_follows_double(name):
    net, data = made(name), batch(LENGTHS, missing=0.2)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    exact = net(data).logits
    data.features = {m: x.float() for m, x in data.features.items()}
    with torch.autocast("cpu", torch.bfloat16):
        logits = net.float()(data).logits
        logits.float().sum().backward()
    torch.testing.assert_close(logits.double(), exact, rtol=0.1, atol=0.1)
    assert all(torch.isfinite(x.grad).all() for x in net.parameters())
    assert logits.shape == (sum(LENGTHS), CLASSES)
