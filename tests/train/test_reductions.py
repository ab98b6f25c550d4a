"""The two reductions against their equations, one turn at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.train.dialogues import DIMS, batch
from tests.train.goals import single
from tests.train.test_models import network
from train.fusion.params import declared
from train.models.iterative.losses import EveryRound

LENGTHS = [4, 1, 6]
D = 8
SUBSETS = [tuple(DIMS), ("text", "visual"), ("audio",)]


def model(name, modalities=tuple(DIMS), **changes):
    return network(name, modalities, declared(name).params(name=name, dim=D, **changes))


def dense(w, name, x):
    return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0)


def utterances(w, data, b, modalities):
    """Return the joined vector of each turn of dialogue b."""
    found = []
    for t in range(int(data.lengths[b])):
        parts = [
            dense(w, f"joined.project.{m}", data.features[m][b, t])
            if data.present[m][b, t]
            else w[f"joined.missing.{m}"]
            for m in modalities
        ]
        found.append(dense(w, "joined.join", torch.cat(parts)))
    return found


def gru(w, inputs, causal=False):
    """Return each direction's states [n, d] of a list of vectors; a causal GRU has the forward direction alone."""
    cell, directions = nn.GRUCell(len(inputs[0]), D).double(), []
    for ending, order in (("", 1),) if causal else (("", 1), ("_reverse", -1)):
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, kind).data = w[f"gru.{kind}_l0{ending}"]
        state, states = torch.zeros(D, dtype=torch.float64), []
        for x in inputs[::order]:
            state = cell(x, state)
            states.append(state)
        directions.append(states[::order])
    return directions


@pytest.mark.parametrize("modalities", SUBSETS)
@pytest.mark.parametrize("missing", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("turns", [1, 3, 10])
def test_mvn_asks_the_turns_before(modalities, missing, turns):
    net, data = model("mvn_utterance", modalities, turns=turns, head=7), batch(LENGTHS, modalities, missing)
    w, expected = net.state_dict(), []
    for b in range(len(LENGTHS)):
        s = [torch.tanh(x) for x in utterances(w, data, b, modalities)]
        for t, own in enumerate(s):
            fused, past = own, s[max(0, t - turns) : t]
            if past:
                bank = [x + f + r for x, f, r in zip(past, *gru(w, past), strict=True)]
                weights = torch.stack([own @ x for x in bank]).softmax(0)
                context = sum(a * x for a, x in zip(weights, bank, strict=True))
                z = torch.sigmoid(dense(w, "gate_own", own) + dense(w, "gate_context", context))
                fused = z * own + (1 - z) * context
            expected.append(dense(w, "classify", torch.tanh(dense(w, "hidden", fused))))
    torch.testing.assert_close(net(data).logits, torch.stack(expected), rtol=0, atol=1e-8)


@pytest.mark.parametrize("modalities", SUBSETS)
@pytest.mark.parametrize("missing", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("rounds", "causal"), [(1, False), (3, False), (3, True)])
def test_each_round_reads_the_answers_of_the_last(modalities, missing, rounds, causal):
    net = model("iterative", modalities, rounds=rounds, causal=causal)
    data = batch(LENGTHS, modalities, missing)
    w, expected = net.state_dict(), [[] for _ in range(rounds + 1)]
    for b in range(len(LENGTHS)):
        u = utterances(w, data, b, modalities)
        logits = [dense(w, "first", x) for x in u]
        expected[0] += logits
        for k in range(1, rounds + 1):
            felt = [dense(w, "emotions", x.softmax(0)) for x in logits]
            states = gru(w, [torch.cat(pair) for pair in zip(u, felt, strict=True)], causal)
            logits = [dense(w, "classify", torch.cat(pair)) for pair in zip(*states, strict=True)]
            expected[k] += logits
    out = net(data)
    for found, wanted in zip(out.rounds, expected, strict=True):
        torch.testing.assert_close(found, torch.stack(wanted), rtol=0, atol=1e-8)
    assert out.logits is out.rounds[-1]


def test_the_loss_is_the_mean_over_the_rounds():
    data = batch(LENGTHS)
    data.labels[::3] = -1
    out, known = model("iterative")(data), data.labels >= 0
    each = [nn.functional.cross_entropy(x[known], data.labels[known]) for x in out.rounds]
    terms = EveryRound(single([1] * 4))(out, data.labels)
    torch.testing.assert_close(terms["total"], sum(each) / 4)
    torch.testing.assert_close(terms["ce"], each[-1])


def test_mvn_reads_its_window_of_the_past_alone():
    net, data = model("mvn_utterance", turns=2), batch([6])
    before = net(data).logits
    data.features["audio"][0, 1] += 1
    moved = (net(data).logits - before).abs().amax(1) > 1e-9
    assert moved.tolist() == [False, True, True, True, False, False]


@pytest.mark.parametrize("name", ["mvn_utterance", "iterative"])
def test_a_missing_feature_is_a_learned_vector(name):
    net, data = model(name), batch([5, 2, 3], missing=0.4)
    before = net(data).logits
    for m, x in data.features.items():
        x[~data.present[m]] = 1e6
    torch.testing.assert_close(net(data).logits, before, rtol=0, atol=0)
    net(data).logits.sum().backward()
    assert all(vector.grad.abs().max() > 0 for vector in net.joined.missing.values())


@pytest.mark.parametrize("name", ["mvn_utterance", "iterative"])
def test_bf16_follows_double(name):
    net, data = model(name), batch(LENGTHS, missing=0.2)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    exact = net(data).logits
    data.features = {m: x.float() for m, x in data.features.items()}
    net = net.float()
    with torch.autocast("cpu", torch.bfloat16):
        out = net(data)
        total = declared(name).loss(declared(name).loss_params(), single([1] * 4))(out, data.labels)["total"]
    total.backward()
    torch.testing.assert_close(out.logits.double(), exact, rtol=0.1, atol=0.1)
    assert all(torch.isfinite(x.grad).all() for x in net.parameters())
