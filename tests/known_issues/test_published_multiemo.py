"""What is wrong with the published MultiEMO code, and that none of it is wrong here."""

from __future__ import annotations

import pytest
import torch

from tests.train.dialogues import CLASSES, alone, batch, loss_params, model, params
from tests.train.goals import single
from train.models.contract import Batch
from train.models.multiemo.losses import MultiEMOLoss, class_weights, soft_hgr, swfc

COUNTS = torch.tensor([30, 4, 9, 2])
WEIGHTS = class_weights(COUNTS, 1.1, "normalised")


def test_prediction_changed_with_the_longest_dialogue_of_the_batch():
    net, data = model(params()), batch([2, 9])
    torch.testing.assert_close(net(data).logits[:2], net(alone(data, 0)).logits, rtol=0, atol=1e-10)
    net = model(params(compat="published"))  # there it does: the test above can fail
    assert (net(data).logits[:2] - net(alone(data, 0)).logits).abs().max() > 1e-3


def test_weights_that_never_received_a_gradient():
    """Published: 39% of the parameters on MELD, text DialogueRNN and reverse directions."""
    for changes in {}, {"bidirectional": False}, {"text_rnn": False, "bidirectional": False}:
        net, data = model(params(**changes)), batch([4, 3, 5], missing=0.4)
        MultiEMOLoss(loss_params(), single(COUNTS)).double()(net(data), data.labels)["total"].backward()
        for name, weight in net.named_parameters():
            assert weight.grad is not None, name
            if name.startswith("rnn."):
                assert (weight.grad.flatten(1).abs().amax(1) > 0).all(), f"a chain of {name} learns nothing"
            else:
                assert (weight.grad != 0).any(), name


def test_meld_text_had_no_context():
    """By default a text-only model reads earlier and later turns."""
    net, data = model(params(multiattn=False), ("text",)), batch([5], ("text",))
    before = net(data).logits
    data.features["text"][0, 2] += 1
    changed = (net(data).logits - before).abs().amax(1) > 1e-6
    assert changed.tolist() == [True] * 5


def test_no_positive_pair_in_the_batch_crashed():
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    loss = swfc(z, torch.tensor([0, 1, 2]), WEIGHTS, 0.8, 2.4)
    loss.backward()
    assert loss == 0
    assert (z.grad == 0).all()


def test_batch_of_one_utterance_crashed():
    net, data = model(params()), batch([1])
    terms = MultiEMOLoss(loss_params(), single(COUNTS)).double()(net(data), data.labels)
    terms["total"].backward()
    assert torch.isfinite(terms["total"])
    assert all(torch.isfinite(x.grad).all() for x in net.parameters())


def test_class_absent_from_training_made_nan_weights():
    counts = torch.tensor([5, 0, 3])
    for kind in "normalised", "raw":
        weights = class_weights(counts, 1.2, kind)
        assert weights[1] == 0
        assert torch.isfinite(weights).all()
    terms = swfc(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]), class_weights(counts, 1.2, "raw"), 0.8, 2.0)
    assert torch.isfinite(terms)


@pytest.mark.parametrize("temperature", [0.019, 0.001])
def test_small_temperature_overflowed(temperature):
    torch.manual_seed(0)
    z = torch.randn(12, 4, requires_grad=True)
    loss = swfc(z, torch.arange(12) % 3, WEIGHTS, temperature, 2.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("focus", [0.0, 0.3, 0.9])
def test_small_focus_at_probability_one_made_nan_gradients(focus):
    z = torch.randn(2, 4, requires_grad=True)  # the only partner has probability exactly 1
    loss = swfc(z, torch.tensor([1, 1]), WEIGHTS, 0.8, focus)
    loss.backward()
    assert loss == 0
    assert (z.grad == 0).all()


def test_an_all_zero_z_had_a_gradient_of_1e11():
    z = torch.randn(6, 4)
    z[2] = 0
    z.requires_grad_()
    swfc(z, torch.tensor([0, 0, 0, 1, 1, 1]), WEIGHTS, 0.8, 2.0).backward()
    assert (z.grad[2] == 0).all()
    assert 0 < z.grad.abs().max() < 10


def test_inference_needed_labels():
    net, data = model(params()), batch([3, 2])
    expected = net(data).logits
    data = Batch(
        data.features, data.present, data.speakers, data.lengths, data.labels.fill_(-1), data.indices
    )
    torch.testing.assert_close(net(data).logits, expected, rtol=0, atol=0)
    assert expected.shape == (5, CLASSES)


def test_multiattn_flag_that_was_on_turned_it_off():
    """There `--multi_attn_flag True` is the string 'True', which is not `== True`."""
    assert model(params(multiattn=True)).multiattn is not None
    assert model(params(multiattn=False)).multiattn is None


def test_soft_hgr_built_covariances_between_all_utterances():
    """O(N²d) time, N² memory; the exact form is between features, centred, and does not shrink with N."""
    torch.manual_seed(0)
    x = torch.randn(40, 6, dtype=torch.float64)
    fused = {"text": x, "audio": x + 0.1 * torch.randn_like(x)}
    present = {m: torch.ones(40, dtype=torch.bool) for m in fused}
    exact = soft_hgr(fused, present, "exact")
    shifted = soft_hgr({m: y + 3 for m, y in fused.items()}, present, "exact")
    torch.testing.assert_close(exact, shifted)  # E[Q] = 0 holds by construction
    doubled = {m: y.repeat(500, 1) for m, y in fused.items()}
    many = soft_hgr(doubled, {m: torch.ones(20_000, dtype=torch.bool) for m in fused}, "exact")
    torch.testing.assert_close(exact, many, rtol=0.1, atol=0)


def test_dropout_dropped_whole_classes_from_the_loss():
    torch.manual_seed(0)
    net, data = model(params(dropout=0.5)), batch([6, 6])
    assert (net(data).logits != 0).all()
    published = model(params(dropout=0.5, compat="published"))
    assert (published(data).logits == 0).any()
    assert (published.eval()(data).logits != 0).all()
