"""SDT against its equations, one query and one head at a time, and its loss term by term."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from pipeline.errors import UserError
from tests.train import small
from tests.train.dialogues import CLASSES, DIMS, batch
from tests.train.goals import single
from tests.train.test_models import network
from train.fusion.params import fusion
from train.layers.codes import sinusoid
from train.models.sdt import LossParams, Params
from train.models.sdt.losses import SDTLoss
from train.models.sdt.network import SDT

LENGTHS = [4, 1, 6]
D, HEADS = 8, 2
SUBSETS = [tuple(DIMS), ("text", "visual"), ("audio",)]


def model(modalities=tuple(DIMS), causal=False):
    return network("sdt", modalities, Params(name="sdt", dim=D, heads=HEADS, causal=causal))


def dense(w, name, x):
    return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0)


def code(number):
    half = D // 2
    angles = [number / 10_000 ** (i / half) for i in range(half)]
    values = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return torch.tensor(values, dtype=torch.float64)


def encoder(w, name, x, keys):
    """Return the output for one query vector x and the present keys."""
    if not keys:
        return torch.zeros(D, dtype=torch.float64)
    context = []
    for h in range(HEADS):
        part = slice(h * D // HEADS, (h + 1) * D // HEADS)
        q = dense(w, f"{name}.query", x)[part]
        weights = torch.stack(
            [q @ dense(w, f"{name}.key", k)[part] / (D / HEADS) ** 0.5 for k in keys]
        ).softmax(0)
        values = [dense(w, f"{name}.value", k)[part] for k in keys]
        context.append(sum(a * v for a, v in zip(weights, values, strict=True)))
    y = x + dense(w, f"{name}.project", torch.cat(context))
    normed = (y - y.mean()) / (y.var(correction=0) + 1e-5).sqrt() * w[f"{name}.norm.weight"] + w[
        f"{name}.norm.bias"
    ]
    return y + dense(w, f"{name}.second", F.gelu(dense(w, f"{name}.first", normed)))


def reference(w, data, modalities, causal=False):
    """Yield each utterance's logits, fused and by modality."""
    for b, length in enumerate(data.lengths.tolist()):
        z = {m: [] for m in modalities}
        for m in modalities:
            for t in range(length):
                here = data.present[m][b, t]
                x = dense(w, f"project.{m}", data.features[m][b, t]) if here else w[f"missing.{m}"]
                speaker = w["speakers.map.weight"] @ code(data.speakers[b, t].item())
                z[m].append(x + code(t) + speaker)
        for t in range(length):
            allowed = range(t + 1 if causal else length)
            keys = {m: [z[m][s] for s in allowed if data.present[m][b, s]] for m in modalities}
            r = {}
            for m in modalities:
                parts = []
                for n in (m, *(o for o in modalities if o != m)):
                    o = encoder(w, f"encoders.{m}_{n}", z[m][t], keys[n])
                    parts.append(torch.sigmoid(dense(w, f"gates.{m}_{n}", o)) * o)
                r[m] = dense(w, f"join.{m}", torch.cat(parts))
            shared = [m for m in modalities if data.present[m][b, t]] or list(modalities)
            weights = torch.stack([dense(w, "share", r[m]) for m in shared]).softmax(0)
            fused = sum(weights[i] * r[m] for i, m in enumerate(shared))
            yield (
                dense(w, "classify", fused),
                {m: dense(w, f"classify_alone.{m}", F.relu(r[m])) for m in modalities},
            )


@pytest.mark.parametrize("modalities", SUBSETS)
@pytest.mark.parametrize("missing", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("causal", [False, True])
def test_it_computes_its_equations(modalities, missing, causal):
    net, data = model(modalities, causal), batch(LENGTHS, modalities, missing)
    out, expected = net(data), list(reference(net.state_dict(), data, modalities, causal))
    torch.testing.assert_close(out.logits, torch.stack([fused for fused, _ in expected]), rtol=0, atol=1e-8)
    for m in modalities:
        torch.testing.assert_close(
            out.unimodal[m], torch.stack([alone[m] for _, alone in expected]), rtol=0, atol=1e-8
        )


def test_identical_streams_are_still_two_modalities():
    """The published code takes two equal inputs for self-attention and skips the cross-attention between them."""
    pair, data = ("text", "visual"), batch(LENGTHS, ("text", "visual"))
    data.features["visual"], data.present["visual"] = data.features["text"], data.present["text"]
    net = (
        SDT(dict.fromkeys(pair, DIMS["text"]), CLASSES, Params(name="sdt", dim=D, heads=HEADS))
        .double()
        .eval()
    )
    expected = torch.stack([fused for fused, _ in reference(net.state_dict(), data, pair)])
    torch.testing.assert_close(net(data).logits, expected, rtol=0, atol=1e-8)


def test_parties_have_codes_without_a_largest_number():
    data = batch([80], parties=1)
    data.speakers[0] = torch.arange(80) % 40
    net = model()
    before = net(data).logits
    data.speakers[0, [47, 48]] = data.speakers[0, [48, 47]]
    assert (net(data).logits - before).abs().max() > 1e-6
    codes = sinusoid(torch.arange(2000), 8, torch.float64)
    assert torch.pdist(codes).min() > 1e-3


def test_the_loss_is_its_three_terms():
    params = LossParams(unimodal=0.7, distil=0.3, tau=2.0)
    data = batch(LENGTHS, missing=0.4)
    data.labels[::4] = -1
    out = model()(data)
    rows = [u for u in range(len(data.labels)) if data.labels[u] >= 0]

    def ce(logits, u):
        return -torch.log(logits[u].softmax(0)[data.labels[u]])

    def kl(p, q):
        return sum(p[c] * torch.log(p[c] / q[c]) for c in range(CLASSES))

    expected = {"ce": sum(ce(out.logits, u) for u in rows) / len(rows), "unimodal": 0.0, "distil": 0.0}
    for m, logits in out.unimodal.items():
        own = [u for u in rows if out.present[m][u]]
        expected["unimodal"] += sum(ce(logits, u) for u in own) / len(own)
        expected["distil"] += sum(
            kl((out.logits[u] / 2).softmax(0), (logits[u] / 2).softmax(0)) for u in own
        ) / len(own)
    expected["total"] = expected["ce"] + 0.7 * expected["unimodal"] + 0.3 * expected["distil"]
    terms = SDTLoss(params, single([1] * 4))(out, data.labels)
    assert terms.keys() == expected.keys()
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_the_teacher_learns_from_its_students():
    data = batch(LENGTHS)
    out = model()(data)
    grad = torch.autograd.grad(
        SDTLoss(LossParams(), single([1] * 4))(out, data.labels)["distil"], out.logits
    )[0]
    assert grad.abs().max() > 0


def test_heads_divide_the_size():
    with pytest.raises(UserError, match=r"model\.dim=16 is not divisible by model\.heads=3"):
        fusion(small.params(model={"name": "sdt", "heads": 3}))


def test_bf16_follows_double():
    net, data = model(), batch(LENGTHS, missing=0.2)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    exact = net(data).logits
    data.features = {m: x.float() for m, x in data.features.items()}
    with torch.autocast("cpu", torch.bfloat16):
        out = net.float()(data)
        total = SDTLoss(LossParams(), single([1] * 4))(out, data.labels)["total"]
    total.backward()
    torch.testing.assert_close(out.logits.double(), exact, rtol=0.1, atol=0.1)
    assert all(torch.isfinite(x.grad).all() for x in net.parameters() if x.grad is not None)
