"""SWFC, Soft-HGR and their sum against the loop-written equations, and where the published ones break."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.dialogues import loss_params
from tests.train.goals import single
from train.models.multiemo import losses, reference
from train.models.multiemo.losses import MultiEMOLoss, class_weights, soft_hgr, swfc
from train.models.multiemo.network import Fused

COUNTS = [40, 3, 11, 0]


def same(ours, theirs, *inputs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    pairs = zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def output(z, fused, present=None, logits=None):
    present = present or {m: torch.ones(len(z), dtype=torch.bool) for m in fused}
    logits = normal(len(z), 4) if logits is None else logits
    return Fused(logits=logits, z=z, fused=fused, present=present)


@pytest.mark.parametrize("kind", ["normalised", "raw"])
def test_class_weights(kind):
    expected = reference.class_weights(COUNTS, 1.2, kind)
    torch.testing.assert_close(
        class_weights(torch.tensor(COUNTS), 1.2, kind), torch.tensor(expected).double()
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=3, max_size=14),
    st.sampled_from([0.5, 1.4]),
    st.sampled_from([0.0, 0.5, 2.0, 2.4]),
    st.sampled_from([1, 30, losses.BLOCK]),
)
def test_swfc_equals_reference(labels, temperature, focus, block):
    z = normal(len(labels), 5).requires_grad_()
    weights = class_weights(torch.tensor(COUNTS), 1.1, "normalised")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "BLOCK", block)
        ours = swfc(z, torch.tensor(labels), weights, temperature, focus)
    theirs = reference.swfc(z, labels, weights.tolist(), temperature, focus)
    same(ours, theirs + 0 * z.sum(), z)


@pytest.mark.parametrize("missing", [(), (0, 3), (5,)])
@pytest.mark.parametrize("kind", ["scaled", "exact"])
@pytest.mark.parametrize(("n", "d"), [(12, 4), (6, 9)])
def test_soft_hgr_equals_reference(missing, kind, n, d):
    names = ("text", "audio", "visual")
    fused = {m: normal(n, d, seed=i).requires_grad_() for i, m in enumerate(names)}
    present = {m: torch.tensor([(i + k) % 6 not in missing for i in range(n)]) for k, m in enumerate(names)}
    loops = reference.soft_hgr_exact if kind == "exact" else reference.soft_hgr_scaled
    same(soft_hgr(fused, present, kind), loops(fused, present), *fused.values())


def test_total_is_equation_22_and_leaves_out_unlabelled_utterances():
    p = loss_params(mu1=0.2, mu2=0.5)
    labels = torch.tensor([0, 2, -1, 0, 1, -1, 2])
    known = labels >= 0
    fused = {m: normal(7, 6, seed=i) for i, m in enumerate(("text", "audio", "visual"))}
    out = output(normal(7, 6, seed=5), fused)
    terms = MultiEMOLoss(p, single(COUNTS)).double()(out, labels)
    weights = reference.class_weights(COUNTS, p.alpha, "normalised")
    contrast = reference.swfc(out.z[known], labels[known].tolist(), weights, p.temperature, p.focus)
    agreement = reference.soft_hgr_scaled(
        {m: x[known] for m, x in fused.items()}, {m: x[known] for m, x in out.present.items()}
    )
    logs = torch.log(torch.exp(out.logits) / torch.exp(out.logits).sum(1, keepdim=True))
    entropy = -sum(logs[i, labels[i]] for i in range(7) if labels[i] >= 0) / known.sum()
    for name, expected in ("swfc", contrast), ("hgr", agreement), ("ce", entropy):
        torch.testing.assert_close(terms[name], expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(
        terms["total"], 0.2 * contrast + 0.5 * agreement + 0.3 * entropy, rtol=1e-7, atol=1e-9
    )


def test_one_modality_has_no_soft_hgr():
    out, labels = output(normal(6, 4), {"text": normal(6, 4)}), torch.tensor([0, 1, 2, 0, 1, 2])
    terms = MultiEMOLoss(loss_params(mu1=0.2, mu2=0.5), single(COUNTS)).double()(out, labels)
    assert set(terms) == {"total", "swfc", "ce"}
    torch.testing.assert_close(terms["total"], 0.2 * terms["swfc"] + 0.8 * terms["ce"])


@pytest.mark.parametrize("labels", [[-1, -1], [1, -1], [1, 1], [0, 1]])
@pytest.mark.parametrize("kind", ["scaled", "exact"])
def test_tiny_batches_are_finite(labels, kind):
    fused = {m: normal(2, 4, seed=i).requires_grad_() for i, m in enumerate(("text", "audio"))}
    z, logits = normal(2, 4).requires_grad_(), normal(2, 4).requires_grad_()
    p = loss_params(soft_hgr=kind)
    terms = MultiEMOLoss(p, single(COUNTS)).double()(output(z, fused, None, logits), torch.tensor(labels))
    terms["total"].backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert all(torch.isfinite(x.grad).all() for x in (z, logits, *fused.values()))


def test_a_batch_where_no_utterance_has_two_modalities():
    fused = {m: normal(4, 4, seed=i).requires_grad_() for i, m in enumerate(("text", "audio"))}
    present = {"text": torch.tensor([1, 1, 0, 0]).bool(), "audio": torch.tensor([0, 0, 1, 1]).bool()}
    loss = soft_hgr(fused, present, "scaled")
    loss.backward()
    assert loss == 0
    assert all((x.grad == 0).all() for x in fused.values())


def test_memory_of_swfc_grows_with_the_block_not_with_n_squared(monkeypatch):
    """No tensor made on the way holds more numbers than a block, or than z."""
    monkeypatch.setattr(losses, "BLOCK", 400)
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    z, labels = normal(100, 3), torch.arange(100) % 2
    weights = class_weights(torch.tensor([50, 50]), 1.0, "normalised")
    with Watch():
        swfc(z, labels, weights, 1.0, 2.0)
    assert 300 <= largest <= 400
