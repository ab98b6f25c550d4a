"""Our modules with published weights against recordings of the published code (tests/golden/README.md)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.train.goals import single
from train.layers.dialogue_rnn import DialogueRNN
from train.layers.layout import Layout
from train.models.contract import MODALITIES, Batch
from train.models.multiemo.losses import MultiEMOLoss, class_weights, soft_hgr, swfc
from train.models.multiemo.multiattn import MultiAttn
from train.models.multiemo.network import MultiEMO
from train.models.multiemo.published import dialogue_chain, from_published, multiattn, to_published

FOLDER = Path(os.environ.get("EMOFUSE_GOLDEN", Path(__file__).parents[1] / "golden"))
PRECISIONS = [torch.float32, torch.float64]


def recordings(pattern: str):
    files = sorted(FOLDER.glob(pattern))
    return pytest.mark.parametrize("file", files, ids=[file.stem for file in files])


def both_precisions(test):
    return pytest.mark.parametrize("dtype", PRECISIONS, ids=["f32", "f64"])(test)


def load(file: Path) -> SimpleNamespace:
    """Arrays of numbers under their keys; `w/`, `g/` and `u/` as dicts."""
    with np.load(file, allow_pickle=False) as npz:
        data = {key: npz[key] for key in npz.files if npz[key].dtype.kind != "U"}
    groups = {
        p: {k[2:]: torch.from_numpy(x) for k, x in data.items() if k.startswith(f"{p}/")} for p in "wgu"
    }
    return SimpleNamespace(
        **groups, **{k: torch.from_numpy(np.asarray(x)) for k, x in data.items() if "/" not in k}
    )


def finder(weights):
    def find(name, *shape):
        assert weights[name].shape == shape, name
        return weights[name]

    return find


def close(ours, recorded, tolerance):
    torch.testing.assert_close(ours.detach().double(), recorded.double(), rtol=0, atol=tolerance)


def gradients_agree(ours, recorded):
    assert ours.keys() >= recorded.keys() > set()
    for name, g in recorded.items():
        worst = (ours[name].double() - g.double()).abs().max()
        assert worst <= 1e-5 * g.abs().max() + 1e-9, f"{name}: {worst} of {g.abs().max()}"


def heads_and_layers(weights) -> tuple[int, int]:
    def highest(pattern):
        return 1 + max(int(n) for name in weights for n in re.findall(pattern, name))

    return highest(r"attention_heads\.(\d+)\."), highest(r"multiattn_layers\.(\d+)\.")


def is_bidirectional(data, file) -> bool:
    """The published code has reverse weights either way: used are those that got a gradient."""
    return (
        any(".dialogue_cell." in k and "_rnn_r." in k for k in data.g) if data.g else "iemocap" in file.stem
    )


def test_there_are_recordings():
    assert any(FOLDER.glob("*.npz")), f"EMOFUSE_GOLDEN: no .npz in {FOLDER}"


@recordings("swfc_*.npz")
@both_precisions
def test_swfc(file, dtype):
    data = load(file)
    kind, tolerance = ("f32", 1e-5) if dtype == torch.float32 else ("f64", 1e-9)
    exact = class_weights(data.class_counts, float(data.sample_weight), "normalised")
    knobs = float(data.temp), float(data.focus)
    z = data.features.to(dtype).requires_grad_()
    close(swfc(z, data.labels, exact, *knobs), data.ref64_code, tolerance)
    loss = swfc(z, data.labels, exact.float(), *knobs)
    close(exact, getattr(data, f"class_weights_{kind}"), 1e-7)
    close(loss, getattr(data, f"loss_{kind}"), tolerance)
    loss.backward()
    close(z.grad, getattr(data, f"grad_{kind}"), tolerance * float(data.grad_f64.abs().max()) + 1e-12)


@recordings("hgr_*.npz")
@both_precisions
def test_soft_hgr(file, dtype):
    data = load(file)
    kind, tolerance = ("f32", 1e-5) if dtype == torch.float32 else ("f64", 1e-9)
    fused = {m: getattr(data, f"f_{m[0]}").to(dtype).requires_grad_() for m in MODALITIES}
    present = {m: torch.ones(len(x), dtype=torch.bool) for m, x in fused.items()}
    loss = soft_hgr(fused, present, "scaled")
    close(loss, getattr(data, f"loss_{kind}"), tolerance)
    close(loss, data.ref64_code, tolerance)
    loss.backward()
    for m, x in fused.items():
        recorded = getattr(data, f"grad_{m[0]}_{kind}")
        close(x.grad, recorded, tolerance * float(recorded.abs().max()) + 1e-12)
    scale = max(1.0, float(data.ref64_paper.abs()))
    close(soft_hgr(fused, present, "exact"), data.ref64_paper, tolerance * scale)


@recordings("dialoguernn_*.npz")
@both_precisions
def test_dialogue_rnn(file, dtype):
    data = load(file)
    bidirectional = is_bidirectional(data, file)
    net = DialogueRNN(1, data.U.shape[-1], bidirectional).to(dtype)
    ways = ["dialog_rnn_f.", "dialog_rnn_r."][: 1 + bidirectional]
    with torch.no_grad():
        for k, way in enumerate(ways):
            for theirs, part in dialogue_chain(finder(data.w), way, net.state_dict(), k):
                part.copy_(theirs)
    turns, batch = data.qmask.shape[:2]
    layout = Layout(data.lens, data.qmask.argmax(-1).T, padded=True, dense=False)
    u = data.U.to(dtype).transpose(0, 1).reshape(batch * turns, -1).requires_grad_()
    (out,) = net([u[layout.inputs]], layout)
    join = (
        {k: data.w[f"linear.{k}"].to(dtype).requires_grad_() for k in ("weight", "bias")}
        if bidirectional
        else {}
    )
    out = F.relu(F.linear(out, **join) if bidirectional else out)
    grid = torch.empty(batch * turns, out.shape[-1], dtype=dtype).index_copy(0, layout.keys, out)
    grid = grid.view(batch, turns, -1).transpose(0, 1)
    close(grid, data.out, 1e-5)
    if dtype == torch.float64:
        close(grid, data.out64, 1e-9)
    grid.backward(data.cotangent.to(dtype))
    recorded = data.grad_U.transpose(0, 1).reshape_as(u)
    close(u.grad, recorded, 1e-5 * float(recorded.abs().max()) + 1e-9)
    if dtype == torch.float64 and data.g:
        ours = {f"linear.{k}": x.grad for k, x in join.items()}
        grads = {name: x.grad for name, x in net.named_parameters()}

        def find(name, *shape):
            return ours.setdefault(name, torch.zeros(shape, dtype=dtype))

        for k, way in enumerate(ways):
            for theirs, part in dialogue_chain(find, way, grads, k):
                theirs.copy_(part)
        gradients_agree(ours, data.g)


@recordings("multiattn_*.npz")
@both_precisions
def test_multiattn(file, dtype):
    data = load(file)
    heads, layers = heads_and_layers(data.w)
    dim = data.in_t.shape[-1]
    ffn = len(data.w["multiattn_text.multiattn_layers.0.ff.linear_W1.bias"])
    net = MultiAttn(list(MODALITIES), dim, heads, ffn, layers, 0.0, causal=False).to(dtype)
    with torch.no_grad():
        for theirs, part in multiattn(finder(data.w), net.state_dict(), heads):
            part.copy_(theirs)

    def run(turns, dialogues):
        speakers = torch.zeros(dialogues, turns, dtype=torch.long)
        layout = Layout(torch.full((dialogues,), turns), speakers, padded=False, dense=False)
        inputs = {
            m: getattr(data, f"in_{m[0]}")[:dialogues, :turns].to(dtype).flatten(0, 1) for m in MODALITIES
        }
        fused = net(inputs, dict.fromkeys(MODALITIES), layout)
        return {m: x.view(dialogues, turns, dim) for m, x in fused.items()}

    whole, cut = run(data.in_t.shape[1], len(data.in_t)), run(4, 1)
    for m in MODALITIES:
        close(whole[m], getattr(data, f"out_{m[0]}"), 1e-5)
        close(cut[m], getattr(data, f"first4_out_{m[0]}"), 1e-5)
        if dtype == torch.float64:
            close(whole[m], getattr(data, f"out64_{m[0]}"), 1e-9)


@recordings("multiemo_*.npz")
@both_precisions
def test_whole_model_and_ten_adam_steps(file, dtype):
    data = load(file)
    heads, layers = heads_and_layers(data.w)
    dims = {m: getattr(data, f"{m}s").shape[-1] for m in MODALITIES}
    classes, head = data.w["mlp.linear_2.weight"].shape
    bidirectional = is_bidirectional(data, file)
    text_rnn = any(k.startswith("text_dialoguernn.") for k in data.g) if data.g else bidirectional
    ffn = len(data.w["multiattn.multiattn_text.multiattn_layers.0.ff.linear_W1.bias"])
    params = SimpleNamespace(
        dim=len(data.w["fc.bias"]), heads=heads, ffn=ffn, layers=layers, head=head, dropout=0.0,
        bidirectional=bidirectional, text_rnn=text_rnn, multiattn=True, compat="published", causal=False,
    )  # fmt: skip
    net = MultiEMO(dims, classes, params).to(dtype)
    weights = {name: x.to(dtype) for name, x in data.w.items()}
    net.load_state_dict(from_published(weights, net.state_dict(), heads))

    real = data.padded_labels >= 0
    features = {m: getattr(data, f"{m}s").to(dtype).transpose(0, 1) for m in MODALITIES}
    labels = data.padded_labels[real]
    speakers = data.speaker_masks.argmax(-1).T
    batch = Batch(
        features, dict.fromkeys(MODALITIES, real), speakers, data.lens, labels, torch.arange(len(labels))
    )
    loss_params = SimpleNamespace(
        mu1=float(data.mix_swfc), mu2=float(data.mix_hgr), temperature=float(data.hyp_temp),
        focus=float(data.hyp_focus), alpha=float(data.hyp_sw), soft_hgr="scaled", swfc_weights="normalised",
    )  # fmt: skip
    criterion = MultiEMOLoss(loss_params, single(data.class_counts)).to(dtype)

    def published(what):
        return to_published({name: getattr(x, what) for name, x in net.named_parameters()}, heads)

    back = published("data")
    used = set(data.g) or set(back)
    assert back.keys() == data.w.keys()
    assert all(torch.equal(back[name], weights[name]) for name in used)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4, weight_decay=1e-5)
    for step, recorded in enumerate(data.traj_loss_hgr_swfc_ce):
        out = net(batch)
        losses = criterion(out, labels)
        close(torch.stack([losses[name] for name in ("total", "hgr", "swfc", "ce")]), recorded, 1e-5)
        optimiser.zero_grad()
        losses["total"].backward()
        if step == 0:
            close(out.logits, data.logits, 1e-5)
            close(out.z, data.fc_out, 1e-5)
            for m in MODALITIES:
                close(out.fused[m], getattr(data, f"fused_{m[0]}"), 1e-5)
            if dtype == torch.float64:
                gradients_agree({k: x for k, x in published("grad").items() if k in used}, data.g)
        optimiser.step()
        if step == 0:
            now = published("data")
            for name in used & set(data.u):
                close(now[name], data.u[name], 1e-5)

    params.compat = "default"
    net = MultiEMO(dims, classes, params).to(dtype)
    net.load_state_dict(from_published(weights, net.state_dict(), heads))
    close(net(batch).logits, data.logits_each_dialogue_alone, 1e-5)
