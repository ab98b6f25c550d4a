"""What holds for every fusion model of the registry: nobody who adds one writes these tests again."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from evaluate.inference import hide
from pipeline.strict import Strict
from tests.train import dialogues, goals, small
from tests.train.dialogues import CLASSES, DIMS
from train.fusion import loop
from train.fusion.build import read
from train.fusion.loop import fit
from train.fusion.params import declared
from train.models import MODELS
from train.models.contract import Batch, FrameBatch, Output
from train.models.declaration import FusionModel
from train.targets.goal import Goal

CPU = torch.device("cpu")
SUBSETS = [("text",), ("audio", "visual"), ("text", "audio", "visual")]
every = pytest.mark.parametrize("name", MODELS)
lengths_of = st.lists(st.integers(1, 6), min_size=1, max_size=5)


class Watched:
    """Params that remember which of them were read."""

    def __init__(self, params: Strict) -> None:
        self._params = params
        self.read: set[str] = set()

    def __getattr__(self, name: str):
        self.read.add(name)
        return getattr(self._params, name)


def small_params(name: str):
    """The model's own params, of small sizes."""
    kind = declared(name).params
    sizes = {"dim": 8, "heads": 2, "ffn": 12, "layers": 2, "head": 7}
    return kind(name=name, **{key: size for key, size in sizes.items() if key in kind.model_fields})


def network(name: str, modalities=tuple(DIMS), params=None) -> nn.Module:
    """A float64 model in evaluation form whose every weight shows."""
    torch.manual_seed(0)
    dims = {m: DIMS[m] for m in modalities if m in declared(name).modalities}
    net = declared(name).network(dims, CLASSES, params or small_params(name)).double().eval()
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.5)
    return net


def criterion(name: str, params=None, goal: Goal | None = None) -> nn.Module:
    goal = goal or goals.single(range(1, CLASSES + 1))
    return declared(name).loss(params or declared(name).loss_params(), goal).double()


def batch(name: str, lengths: list[int], modalities=tuple(DIMS), missing: float = 0.0, seed: int = 0):
    """Dialogues of these lengths or, for a model of frames, utterances of as many frames."""
    data = dialogues.batch(lengths, modalities, missing, seed, parties=5)
    if declared(name).reads == "pooled":
        return data
    here = {m: x[:, :1] & data.real() for m, x in data.present.items()}
    first = torch.tensor([0, *itertools.accumulate(lengths)])[:-1]
    return FrameBatch(
        {m: x * here[m][..., None] for m, x in data.features.items()},
        here,
        data.labels[first],
        torch.arange(len(lengths)),
    )


def taken(data: Batch | FrameBatch, units: list[int], turns: int, lengths: list[int]):
    """Some units of a batch, in this order, cut or padded to `turns`."""

    def cut(x: torch.Tensor) -> torch.Tensor:
        out = x.new_zeros(len(units), turns, *x.shape[2:])
        n = min(turns, x.shape[1])
        out[:, :n] = x[units, :n]
        return out

    def rows(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.split(sizes(data, lengths))[u] for u in units])

    changed: dict[str, Any] = {
        "features": {m: cut(x) for m, x in data.features.items()},
        "present": {m: cut(x) for m, x in data.present.items()},
        "labels": rows(data.labels),
        "indices": rows(data.indices),
    }
    if isinstance(data, Batch):
        changed |= {"speakers": cut(data.speakers), "lengths": data.lengths[units]}
    return dataclasses.replace(data, **changed)


def sizes(data: Batch | FrameBatch, lengths: list[int]) -> list[int]:
    """Utterances of each unit."""
    return lengths if isinstance(data, Batch) else [1] * len(lengths)


@every
def test_its_folder_is_what_the_stages_depend_on(name):
    """`train/models/${model.name}` is a dep; a model of another folder would not be seen to change."""
    assert MODELS[name] == f"train.models.{name}"


@every
@settings(max_examples=15)
@given(
    lengths_of, st.integers(0, 10_000), st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from(SUBSETS), st.data()
)
def test_an_answer_does_not_depend_on_mates_padding_or_order(name, lengths, seed, missing, modalities, draw):
    if not set(modalities) & set(declared(name).modalities):
        return
    net, data = network(name, modalities), batch(name, lengths, modalities, missing, seed)
    together = net(data).logits.split(sizes(data, lengths))
    assert sum(len(x) for x in together) == len(data.labels)
    order = draw.draw(st.permutations(range(len(lengths))))
    shuffled = net(taken(data, order, max(lengths) + 2, lengths)).logits
    torch.testing.assert_close(shuffled, torch.cat([together[u] for u in order]), rtol=0, atol=1e-9)
    for u, length in enumerate(lengths):
        alone = net(taken(data, [u], length, lengths)).logits
        torch.testing.assert_close(alone, together[u], rtol=0, atol=1e-9)


@every
def test_padding_is_never_read(name):
    net, lengths = network(name), [5, 2, 3]
    data = batch(name, lengths, missing=0.4)
    before = net(data).logits
    padded = torch.arange(5) >= torch.tensor(lengths)[:, None]
    for x in data.features.values():
        x[padded] = 1e6
    if isinstance(data, Batch):
        data.speakers[padded] = 7
    torch.testing.assert_close(net(data).logits, before, rtol=0, atol=0)


@every
def test_a_hidden_modality_leaves_nothing_of_it(name):
    net, data = network(name), batch(name, [4, 2])
    other = dataclasses.replace(data, features={m: x + 5 for m, x in data.features.items()})
    for m in declared(name).modalities:
        torch.testing.assert_close(
            net(hide(dataclasses.replace(other, features={**data.features, m: other.features[m]}), m)).logits,
            net(hide(data, m)).logits,
        )
    for m in DIMS:
        data = hide(data, m)
    assert torch.isfinite(net(data).logits).all()


@every
@pytest.mark.parametrize("lengths", [[1], [1, 4, 3]], ids=["one utterance", "several"])
@pytest.mark.parametrize("labels", ["one", "all", "one labelled"])
@pytest.mark.parametrize("missing", [0.0, 0.5, 1.0])
def test_loss_and_gradients_are_finite(name, lengths, labels, missing):
    net, data = network(name).train(), batch(name, lengths, missing=missing)
    if labels == "one":
        data.labels.fill_(1)
    elif labels == "one labelled":
        data.labels[1:] = -1
    terms = criterion(name)(net(data), data.labels)
    assert {"total", "ce"} <= set(terms)
    assert all(torch.isfinite(term) for term in terms.values())
    terms["total"].backward()
    grads = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert grads
    assert all(torch.isfinite(grad).all() for grad in grads)


@every
@pytest.mark.parametrize("kind", goals.KINDS)
@pytest.mark.parametrize("known", [1.0, 0.5])
def test_every_target_has_a_finite_loss_and_gradients(name, kind, known):
    net, data = network(name).train(), batch(name, [1, 4, 3], missing=0.3)
    data.labels[torch.rand(len(data.labels), generator=torch.Generator().manual_seed(0)) > known] = -1
    goal = goals.goal(kind, data.labels, CLASSES)
    data.labels = goals.truth(kind, data.labels, CLASSES)
    terms = criterion(name, goal=goal)(net(data), data.labels)
    assert {"total", goal.term} <= set(terms)
    assert all(torch.isfinite(term) for term in terms.values())
    terms["total"].backward()
    grads = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert grads
    assert all(torch.isfinite(grad).all() for grad in grads)


@every
def test_an_output_holds_what_the_loss_reads(name):
    out = network(name)(batch(name, [3, 2]))
    assert isinstance(out, Output)
    if type(declared(name)).loss is FusionModel.loss:
        assert [field.name for field in dataclasses.fields(out)] == ["logits"]


@every
def test_every_knob_is_read(name):
    """A knob that changes nothing would train anew for nothing, and look like a result."""
    params, loss = Watched(small_params(name)), Watched(declared(name).loss_params())
    data = batch(name, [3, 2, 4])
    criterion(name, loss)(network(name, params=params)(data), data.labels)
    assert params.read >= set(declared(name).params.model_fields) - {"name"}
    assert loss.read >= set(declared(name).loss_params.model_fields)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    small.add_frames(tmp_path)
    return tmp_path


@every
def test_the_same_seed_gives_the_same_bytes_stopped_or_not(name, corpus, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    params = small.params(model={"name": name, "dropout": 0.3}, train={"epochs": 3, "modality_dropout": 0.3})
    data = read(params)

    def trained(seed: int, state: Path) -> str:
        *_, done = fit(data, params, seed, CPU, state)
        return hashlib.sha256(save({k: done.weights[k] for k in sorted(done.weights)})).hexdigest()

    whole = trained(3, corpus / "whole")
    list(itertools.islice(fit(data, params, 3, CPU, corpus / "stopped"), 2))
    torch.rand(7)  # whatever else has used the generators since
    assert trained(3, corpus / "stopped") == whole
    assert trained(3, corpus / "again") == whole


@every
def test_it_learns_and_its_best_epoch_is_kept(name, corpus):
    params = small.params(
        model={"name": name}, train={"epochs": 12, "lr": 1e-2}, loss={"mu2": 0.1, "avel": 0.1}
    )
    *_, done = fit(read(params), params, 0, CPU, corpus / "state", corpus / "epochs")
    best = max(row["val_weighted_f1"] for row in done.history)
    assert best == done.history[done.best_epoch - 1]["val_weighted_f1"]
    assert best > 0.6 or name == "majority"
    assert len(list((corpus / "epochs").iterdir())) == len(done.history)
    # The columns that `dvc plots` draws; it drops a plot that lacks one.
    assert {"train_loss", "train_ce", "val_ce", "val_weighted_f1"} <= set(done.history[0])


@every
@pytest.mark.parametrize("kind", ["soft", "multi", "values"])
def test_it_learns_every_target(name, kind, corpus):
    params = small.params(
        corpus=small.annotate(corpus, kind),
        model={"name": name},
        train={"epochs": 12, "lr": 1e-2},
        loss={"mu1": 0.0, "mu2": 0.1, "avel": 0.0, "mem": 0.0},
    )
    data = read(params)
    *_, done = fit(data, params, 0, CPU, corpus / "state")
    truth = data.labels[data.split == "val"]
    baseline, best = data.goal.baseline(truth), done.best[f"val_{data.goal.main}"]
    assert best > baseline + 0.15 or name == "majority"
