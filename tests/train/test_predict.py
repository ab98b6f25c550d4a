"""Probabilities, hidden modalities and attention maps of a model."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from evaluate import inference
from evaluate.inference import attention, hide, probabilities
from evaluate.run import metrics
from tests.train import small
from train.fusion.build import build
from train.fusion.build import read as load
from train.fusion.params import fusion

CPU = torch.device("cpu")


@pytest.fixture
def trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path, missing=0.3)
    params = small.params()
    data = load(params)
    torch.manual_seed(0)
    model, _ = build(fusion(params), data.dims, data.goal)
    return model, data


def test_answers_are_divided_by_the_temperature(trained) -> None:
    model, data = trained
    hot = probabilities(model, data, CPU, temperature=4.0)
    assert np.allclose(metrics.uncalibrated(hot, 4.0), probabilities(model, data, CPU), atol=1e-5)
    assert (hot.max(1) <= probabilities(model, data, CPU).max(1) + 1e-7).all()


def test_every_row_gets_probabilities(trained):
    p = probabilities(*trained, CPU)
    assert p.shape == (len(trained[1].utterances), 3)
    assert np.allclose(p.sum(1), 1, atol=1e-5)


def test_a_dialogue_is_predicted_as_it_would_be_alone(trained):
    model, data = trained
    together = probabilities(model, data, CPU)
    for d, (start, stop) in enumerate(data.turns):
        alone = model(data.batch([d])).logits.softmax(1)
        assert np.allclose(together[start:stop], alone.detach(), atol=1e-6)


def test_one_long_dialogue_does_not_pad_the_others_to_its_length(trained, monkeypatch):
    model, data = trained
    whole = probabilities(model, data, CPU)
    seen = []
    made = type(data).batch

    def batch(self, chosen, device="cpu"):
        seen.append([stop - start for start, stop in (self.turns[d] for d in chosen)])
        return made(self, chosen, device)

    monkeypatch.setattr(type(data), "batch", batch)
    monkeypatch.setattr(inference, "PADDED", 12)
    assert np.allclose(probabilities(model, data, CPU), whole, atol=1e-6)
    assert [n for part in seen for n in part] == [stop - start for start, stop in data.turns]
    assert all(len(part) == 1 or len(part) * max(part) <= 12 for part in seen)


def test_hiding_a_modality_leaves_nothing_of_it(trained):
    model, data = trained
    without_audio = partial(hide, modality="audio")
    hidden = probabilities(model, data, CPU, without_audio)
    data.features["audio"] += 5.0
    assert np.array_equal(hidden, probabilities(model, data, CPU, without_audio))
    batch = hide(data.batch([0]), "audio")
    assert not batch.present["audio"].any()
    assert not batch.features["audio"].any()


def test_the_others_splits_rows_are_left_out_where_one_is_asked_for(trained):
    whole, test = probabilities(*trained, CPU), probabilities(*trained, CPU, split="test")
    of_test = trained[1].split == "test"
    assert np.allclose(test[of_test], whole[of_test], atol=1e-6)
    assert not test[~of_test].any()


def test_attention_weights_sum_to_one_over_what_can_be_heard(trained):
    model, data = trained
    maps = attention(model, data, CPU, range(len(data.turns)))
    assert set(maps) == {(a, b) for a in data.dims for b in data.dims if a != b}
    for (_, key), per_dialogue in maps.items():
        for (start, stop), weights in zip(data.turns, per_dialogue, strict=True):
            heard = data.present[key][start:stop].numpy()
            assert weights.shape == (stop - start, stop - start)
            assert (weights[:, ~heard] == 0).all()
            assert np.allclose(weights.sum(1), 1.0 if heard.any() else 0.0, atol=1e-5)


def test_attention_is_what_the_forward_pass_used(trained):
    """The mean over heads alone says little; with one head it must rebuild the sublayer's output."""
    _, data = trained
    params = small.params(model={"heads": 1})
    model, _ = build(fusion(params), data.dims, data.goal)
    model.eval()
    used = {}
    pair, sublayer = next(iter(model.multiattn.last().items()))
    sublayer.register_forward_hook(lambda module, inputs, output: used.update(inputs=inputs, output=output))
    d = next(i for i, (a, b) in enumerate(data.turns) if b - a > 2 and data.present[pair[1]][a:b].all())
    weights = model.attention(data.batch([d]))[pair]
    rebuilt = sublayer.project(weights @ used["inputs"][3])
    assert torch.allclose(rebuilt, used["output"], atol=1e-5)


def test_a_model_without_cross_attention_has_no_maps(trained):
    _, data = trained
    for changed in ({"multiattn": False}, {"name": "logreg"}):
        params = small.params(model=changed)
        model, _ = build(fusion(params), data.dims, data.goal)
        assert attention(model, data, CPU, [0]) is None
