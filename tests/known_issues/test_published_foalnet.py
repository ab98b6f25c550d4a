"""What is wrong with the published Foal-Net code, and that none of it is wrong here."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluate.run.metrics import scores
from pipeline.params import Params
from pipeline.settings import read_yaml
from tests.train.test_foalnet import CLASSES, batch, loss, model, utterances
from train.models.foalnet import Model as FoalNet
from train.models.foalnet.losses import avel, negatives

ROOT = Path(__file__).parents[2]


def test_gathers_without_gradient_changed_the_loss_with_the_number_of_processes():
    """There a pair whose two ends lie in two processes moves one end only. Here both ends of every pair move."""
    torch.manual_seed(0)
    labels, scale = torch.tensor([0, 0, 1, 2]), torch.tensor(3.0, dtype=torch.float64)
    ends = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    avel(*ends, labels, scale).backward()
    by_hand = []
    for i in range(2):
        for j in range(4):
            step = (
                1e-6 * torch.eye(4, dtype=torch.float64)[j][:, None] * torch.ones(4, 3, dtype=torch.float64)
            )
            moved = [x.detach() + step * (k == i) for k, x in enumerate(ends)]
            back = [x.detach() - step * (k == i) for k, x in enumerate(ends)]
            by_hand.append((avel(*moved, labels, scale) - avel(*back, labels, scale)) / 2e-6)
    found = torch.cat([x.grad.sum(1) for x in ends])
    torch.testing.assert_close(found, torch.stack(by_hand), rtol=0, atol=1e-7)
    assert (found.abs() > 1e-6).all()


def test_an_all_false_key_mask_was_a_softmax_over_nothing():
    net = model().train()
    rows = utterances([(3, 0), (0, 2), (0, 0), (2, 2)])
    out = net(batch(rows, [0, 1, 2, 0]))
    loss()(out, torch.tensor([0, 1, 2, 0]))["total"].backward()
    assert torch.isfinite(out.logits).all()
    assert all(torch.isfinite(x.grad).all() for x in net.parameters() if x.grad is not None)


def test_a_clip_without_video_had_a_full_mask_of_zeros():
    """Here it is a missing feature: masked as a key, a learned vector as a query."""
    net = model()
    rows = utterances([(3, 0), (2, 4)])
    data = batch(rows, [0, 1])
    assert not data.present["visual"][0].any()
    before = net(data).logits
    data.features["visual"][0] = 7.0
    torch.testing.assert_close(net(data).logits, before, rtol=0, atol=0)
    net.missing["visual"].data += 1
    moved = (net(data).logits - before).abs().amax(1)
    assert moved[0] > 1e-4 > moved[1]


@pytest.mark.parametrize("count", [1, 4])
def test_a_batch_of_one_emotion_drew_false_negatives(count):
    labels = torch.full((count,), 2)
    assert not negatives(torch.randn(count, count), labels).any()
    net = model().train()
    terms = loss(mem=1.0)(net(batch(utterances([(2, 2)] * count), labels.tolist())), labels)
    terms["total"].backward()
    assert terms["mem"] == 0
    assert torch.isfinite(terms["total"])
    assert all(x.grad is None for x in net.match.parameters())


def test_the_temperature_was_the_logarithm_it_should_start_from():
    """There similarities are divided by 2.66; here they are multiplied by exp(2.66), and 1 / 14.3 is the 0.07 meant."""
    data = batch(utterances([(1, 1)]), [0])
    assert 1 / model()(data).scale.item() == pytest.approx(0.07)
    assert 1 / model(compat="published", heads=1)(data).scale.item() == pytest.approx(math.log(1 / 0.07))


def test_loading_left_the_temperature_uninitialised(tmp_path):
    net = model()
    net.temperature.data.fill_(1.25)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    again = model(seed=1)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert again.temperature == 1.25
    assert model().temperature.item() == pytest.approx(math.log(1 / 0.07))


def test_it_did_not_construct_on_a_newer_transformers():
    """The model needs none: its encoders ran before it, in another stage."""
    code = "import sys; import train.models.foalnet.network; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_ua_was_nan_where_an_emotion_is_absent():
    found = scores(np.array([0, 0, 2]), np.array([0, 1, 2]), CLASSES)
    assert found["unweighted_accuracy"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "name",
    ["docs/foalnet.md", "docs/multiemo.md", "presets/demo-foalnet.yaml", "presets/iemocap4-foalnet.yaml"],
)
def test_the_documented_command_had_an_option_that_does_not_exist(name):
    """Every `-S section.field=` of ours is a param that the file in question states, or has `++` before it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    params = read_yaml(ROOT / (name if name.endswith(".yaml") else "params.yaml"))
    found = re.findall(r"-S '?(\+\+)?([a-z][\w.]*)=", text)
    assert found
    own = {"model": FoalNet.params.model_fields, "loss": FoalNet.loss_params.model_fields}
    for added, dotted in found:
        section, *rest = dotted.split(".")
        assert section in Params.model_fields
        if added:
            assert rest[0] in own[section]
            continue
        value = params[section]
        for part in rest:
            if part.isupper():  # a name of the reader's own
                break
            assert part in value, dotted
            value = value[part]
