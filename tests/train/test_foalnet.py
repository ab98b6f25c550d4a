"""Foal-Net and its losses against loops, and what must hold for any batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluate.inference import hide
from pipeline.errors import UserError
from tests.train.foalnet_reference import Reference
from tests.train.goals import single
from train.models.contract import FrameBatch
from train.models.foalnet import LossParams, Params
from train.models.foalnet.losses import FoalNetLoss, avel, mem, negatives
from train.models.foalnet.network import FoalNet

DIMS = {"audio": 5, "visual": 6}
CLASSES, HEADS, LAYERS = 3, 2, 2
COUNTS = torch.ones(CLASSES)


def model(modalities=tuple(DIMS), seed: int = 0, **changes) -> FoalNet:
    """A float64 model in evaluation form (no dropout) whose every weight matters."""
    torch.manual_seed(seed)
    sizes = {"dim": 8, "heads": HEADS, "layers": LAYERS, "head": 4, **changes}
    net = FoalNet({m: DIMS[m] for m in modalities}, CLASSES, Params(name="foalnet", **sizes))
    for name, weight in net.named_parameters():
        if name.startswith("missing") or name.endswith("norm.bias"):
            torch.nn.init.normal_(weight, std=0.5)
    return net.double().eval()


def utterances(lengths: list[tuple[int, int]], seed: int = 0) -> list[dict[str, list[torch.Tensor]]]:
    """Random frames; (audio, visual) lengths, 0 where missing. One's frames do not depend on the others."""
    found = []
    for b, pair in enumerate(lengths):
        draw = torch.Generator().manual_seed(seed * 1009 + b)
        found.append(
            {
                m: [torch.randn(d, generator=draw, dtype=torch.float64) for _ in range(n)]
                for (m, d), n in zip(DIMS.items(), pair, strict=True)
            }
        )
    return found


def batch(rows: list[dict[str, list[torch.Tensor]]], labels: list[int], pad: int = 0) -> FrameBatch:
    features, present = {}, {}
    for m in rows[0]:
        longest = max(1, *(len(u[m]) for u in rows)) + pad
        features[m] = torch.zeros(len(rows), longest, DIMS[m], dtype=torch.float64)
        present[m] = torch.zeros(len(rows), longest, dtype=torch.bool)
        for b, u in enumerate(rows):
            for t, x in enumerate(u[m]):
                features[m][b, t], present[m][b, t] = x, True
    return FrameBatch(features, present, torch.tensor(labels), torch.arange(len(rows)))


def loss(avel: float = 1.0, mem: float = 0.1) -> FoalNetLoss:
    return FoalNetLoss(LossParams(avel=avel, mem=mem), single(COUNTS))


lengths_of = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=7)
some = settings(max_examples=25, deadline=None, derandomize=True)


@settings(some, max_examples=12)
@given(lengths_of, st.data())
def test_everything_is_what_the_loops_say(lengths, data):
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    net, rows = model(), utterances(lengths)
    net.temperature.data.fill_(1.1)
    out, reference = net(batch(rows, labels)), Reference(net.state_dict(), rows, HEADS, LAYERS)
    torch.testing.assert_close(out.logits, reference.logits(), rtol=0, atol=1e-10)
    whole = reference.complete()
    assert torch.nonzero(out.both).flatten().tolist() == whole
    terms = loss()(out, torch.tensor(labels))
    if whole:
        torch.testing.assert_close(terms["avel"], reference.avel(labels), rtol=0, atol=1e-9)
    else:
        assert terms["avel"] == 0
    if whole:
        drawn = {m: {i: data.draw(st.sampled_from(whole)) for i in whole} for m in DIMS}
        ours = mem(out, torch.tensor(whole), {m: torch.tensor(list(p.values())) for m, p in drawn.items()})
        torch.testing.assert_close(ours, reference.mem(drawn), rtol=0, atol=1e-9)


@some
@given(lengths_of, st.data())
def test_any_batch_has_finite_losses_and_gradients(lengths, data):
    """One emotion, one utterance, unlabelled ones, missing streams: in any mixture."""
    labels = data.draw(st.lists(st.integers(-1, 2), min_size=len(lengths), max_size=len(lengths)))
    net = model().train()
    terms = loss()(net(batch(utterances(lengths), labels)), torch.tensor(labels))
    terms["total"].backward()
    assert all(torch.isfinite(x) for x in terms.values())
    assert all(torch.isfinite(x.grad).all() for x in net.parameters() if x.grad is not None)


@some
@given(st.lists(st.integers(0, 2), min_size=1, max_size=9))
def test_negatives_are_of_another_emotion_and_near_ones_likelier(labels):
    labels = torch.tensor(labels)
    torch.manual_seed(len(labels))
    similar = torch.randn(len(labels), len(labels), dtype=torch.float64)
    p = negatives(similar, labels)
    other = labels[:, None] != labels
    assert (p[~other] == 0).all()
    torch.testing.assert_close(p.sum(1), other.any(1).double())
    for row, scores, allowed in zip(p, similar, other, strict=True):
        order = scores[allowed].argsort()
        assert (row[allowed][order].diff() >= 0).all()


def test_an_own_pair_is_attended_once(monkeypatch):
    """MEM reuses the matched pairs and the projected keys: one more pass, not two, and no key projected again."""
    net, rows = model(), utterances([(2, 2)] * 4)
    calls = {"block": 0, "memory": 0}
    for stack in net.stacks.values():
        stack.memory.register_forward_hook(lambda *_: calls.__setitem__("memory", calls["memory"] + 1))
        for block in stack.blocks:
            block.register_forward_hook(lambda *_: calls.__setitem__("block", calls["block"] + 1))
    labels = [0, 1, 2, 0]
    loss()(net(batch(rows, labels)), torch.tensor(labels))
    assert calls == {"block": 2 * 2 * LAYERS, "memory": 2}
    calls.update(block=0, memory=0)
    loss(mem=0)(net(batch(rows, labels)), torch.tensor(labels))
    assert calls == {"block": 2 * LAYERS, "memory": 2}


def test_a_loss_of_weight_zero_is_not_computed():
    labels = torch.tensor([0, 1, 2])
    out = model()(batch(utterances([(2, 1), (1, 3), (2, 2)]), labels.tolist()))
    assert set(loss(0, 0)(out, labels)) == {"total", "ce"}
    assert set(loss(1, 0)(out, labels)) == {"total", "ce", "avel"}
    assert set(loss(0, 1)(out, labels)) == {"total", "ce", "mem"}
    torch.manual_seed(0)
    terms = loss(0.7, 0.3)(out, labels)
    expected = terms["ce"] + 0.7 * terms["avel"] + 0.3 * terms["mem"]
    torch.testing.assert_close(terms["total"], expected)


def test_every_weight_learns():
    labels = [0, 1, 2, 0, 1]
    net = model()
    out = net(batch(utterances([(2, 1), (1, 3), (2, 2), (0, 2), (3, 0)]), labels))
    loss()(out, torch.tensor(labels))["total"].backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert (weight.grad != 0).any(), name


def test_avel_shapes_what_the_classifier_reads():
    """Over cached frames there is no encoder behind the heads for it to shape; the first layer stands for it."""
    labels = [0, 1, 2, 0]
    net = model()
    out = net(batch(utterances([(2, 2)] * 4), labels))
    avel(out.aligned["audio"], out.aligned["visual"], torch.tensor(labels), out.scale).backward()
    assert all((net.enter[m].weight.grad != 0).any() for m in DIMS)


@pytest.mark.parametrize("m", DIMS)
def test_a_modality_alone(m):
    net = model((m,))
    rows = [{m: u[m]} for u in utterances([(2, 3), (4, 1), (0, 0)])]
    out = net(batch(rows, [0, 1, 2]))
    torch.testing.assert_close(out.logits, Reference(net.state_dict(), rows, HEADS, LAYERS).logits())
    assert set(loss()(out, torch.tensor([0, 1, 2]))) == {"total", "ce"}
    assert not net.stacks
    assert {name.split(".")[0] for name in net.state_dict()} == {"enter", "missing", "classify"}


def test_a_hidden_modality_leaves_nothing_of_it():
    net, rows = model(), utterances([(2, 2), (3, 1)])
    hidden = net(hide(batch(rows, [0, 1]), "audio")).logits
    silent = [{**u, "audio": []} for u in rows]
    torch.testing.assert_close(hidden, net(batch(silent, [0, 1])).logits)
    assert (hidden - net(batch(rows, [0, 1])).logits).abs().max() > 1e-3


def test_the_temperature_starts_where_clips_does_and_is_bounded():
    net = model()
    rows = batch(utterances([(1, 1)]), [0])
    assert net(rows).scale.item() == pytest.approx(1 / 0.07)
    net.temperature.data.fill_(50.0)
    assert net(rows).scale.item() == 100
    published = model(compat="published", heads=1)
    assert published(rows).scale.item() == pytest.approx(1 / math.log(1 / 0.07))


def test_heads_that_do_not_divide_published_widths_are_named():
    with pytest.raises(UserError, match=r"model\.heads=2 does not divide 5, the size of the audio frames"):
        model(compat="published")
