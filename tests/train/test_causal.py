"""`model.causal`: what holds for every model of the registry that has the knob."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.dialogues import CLASSES, batch
from tests.train.test_models import network, small_params, taken
from train.fusion.params import declared
from train.models import MODELS
from train.models.contract import Batch

CAUSAL = [name for name in MODELS if "causal" in declared(name).params.model_fields]
PAST_ONLY = [name for name in MODELS if declared(name).past_only and declared(name).reads == "pooled"]
every = pytest.mark.parametrize("name", CAUSAL)
with_past_only = pytest.mark.parametrize("name", [*CAUSAL, *PAST_ONLY])


def model(name: str, causal: bool):
    kind = declared(name).params
    knob = {"causal": causal} if name in CAUSAL else {}
    return network(name, params=kind(**{**small_params(name).model_dump(), **knob}))


def changed_after(data: Batch, turn: int) -> Batch:
    """The dialogues of a batch with other features, speakers and missing features after a turn."""
    later = torch.arange(data.speakers.shape[1]) > turn
    later = later & data.real()
    features = {m: torch.where(later[..., None], 3 - 2 * x, x) for m, x in data.features.items()}
    present = {m: here ^ (later & (torch.arange(len(later[0])) % 2 == 0)) for m, here in data.present.items()}
    return dataclasses.replace(
        data,
        features={m: x * present[m][..., None] for m, x in features.items()},
        present=present,
        speakers=torch.where(later, (data.speakers + 1) % 3, data.speakers),
    )


def turns(data: Batch) -> torch.Tensor:
    """Return [U] long, each utterance's turn."""
    return torch.cat([torch.arange(int(length)) for length in data.lengths])


def test_the_models_that_have_the_knob():
    assert {"multiemo", "bclstm", "dialoguernn", "dialoguegcn", "mmgcn", "m3net"} <= set(CAUSAL)
    assert all(declared(name).params.model_fields["causal"].default is False for name in CAUSAL)
    assert {"majority", "logreg", "attention", "lmf", "qmnn", "mvn_utterance"} == set(PAST_ONLY)
    assert set(CAUSAL) | set(PAST_ONLY) | {"foalnet"} == set(MODELS)


@with_past_only
@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 6), st.integers(0, 10_000),
    st.sampled_from([0.0, 0.4, 1.0]),
)  # fmt: skip
def test_a_turns_answer_does_not_depend_on_later_turns(name, lengths, turn, seed, missing):
    net, data = model(name, causal=True), batch(lengths, missing=missing, seed=seed)
    before, after = net(data).logits, net(changed_after(data, turn)).logits
    known = turns(data) <= turn
    torch.testing.assert_close(after[known], before[known], rtol=0, atol=1e-9)


@with_past_only
def test_an_answer_is_the_same_while_the_dialogue_goes_on(name):
    """A dialogue that is answered after each turn gets the answers of the whole dialogue."""
    net, data = model(name, causal=True), batch([6], missing=0.3)
    whole = net(data).logits
    for count in range(1, 7):
        so_far = taken(data, [0], count, [6])
        so_far = dataclasses.replace(
            so_far,
            lengths=torch.tensor([count]),
            labels=data.labels[:count],
            indices=data.indices[:count],
        )
        assert whole.shape == (6, CLASSES)
        torch.testing.assert_close(net(so_far).logits, whole[:count], rtol=0, atol=1e-9)


@every
def test_without_the_knob_later_turns_are_read(name):
    net, data = model(name, causal=False), batch([6])
    moved = (net(changed_after(data, 2)).logits - net(data).logits).abs().amax(1) > 1e-9
    assert moved[:3].any()


@every
def test_earlier_turns_are_read(name):
    net, data = model(name, causal=True), batch([6])
    before = net(data).logits
    data.features["text"][0, 0] += 1
    assert ((net(data).logits - before).abs().amax(1) > 1e-9)[1:].any()
