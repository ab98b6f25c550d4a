"""Modalities that are set missing: which, how many, and that nothing is left of them."""

from __future__ import annotations

import pytest
import torch

from tests.train import small
from tests.train.dialogues import DIMS
from tests.train.test_loop import hashed, last
from tests.train.test_models import batch
from train.data.missing import drawn, lose, without
from train.fusion import loop
from train.fusion.build import read
from train.fusion.loop import fit

CPU = torch.device("cpu")


def numbers(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_each_modality_goes_with_the_rate_and_never_all_of_them(rate):
    here = numbers(20_000, 1) < 0.8
    lost = lose(here, numbers(20_000, 2), rate)
    assert not (lost & ~here).any()
    assert ((here & ~lost).any(0) == here.any(0)).all()
    full = lost[:, here.all(0)]
    # Independent draws, but for the third of those that would lose all three.
    assert full.double().mean(1).tolist() == pytest.approx([rate - rate**3 / 3] * 3, abs=0.015)
    assert not lost[:, here.sum(0) == 1].any()


@pytest.mark.parametrize("name", ["bclstm", "foalnet"])
def test_a_lost_feature_is_like_one_that_failed(name):
    data = batch(name, [4, 2, 5], missing=0.2)
    count = len(data.labels)
    after = drawn(data, 0.5, numbers(count))
    changed = 0
    for m in DIMS:
        there, left = data.present[m], after.present[m]
        assert not (left & ~there).any()
        assert not after.features[m][~left].any()
        assert torch.equal(after.features[m][left], data.features[m][left])
        changed += int((there & ~left).sum())
    assert changed > 0
    others = [drawn(data, 0.5, numbers(count, seed)).present["audio"] for seed in range(1, 9)]
    assert not all(torch.equal(other, after.present["audio"]) for other in others)


@pytest.mark.parametrize("name", ["bclstm", "foalnet"])
def test_what_is_lost_is_named_by_utterance(name):
    data = batch(name, [4, 2, 5])
    rows = torch.arange(len(data.labels)) == 1
    after = without(data, {"audio": rows})
    place = (0, 1) if name == "bclstm" else (1, slice(None))
    assert not after.present["audio"][place].any()
    assert data.present["audio"].sum() - after.present["audio"].sum() == data.present["audio"][place].sum()
    assert torch.equal(after.present["text"], data.present["text"])


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    small.make(tmp_path, missing=0.0)
    small.add_frames(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["bclstm", "foalnet"])
def test_val_keeps_its_modalities(corpus, name):
    """At such a learning rate both networks stay what they were at first, so that val scores them alike."""
    seen = []
    for rate in (0.0, 0.9):
        params = small.params(
            model={"name": name}, train={"epochs": 1, "lr": 1e-12, "modality_dropout": rate}
        )
        seen += last(fit(read(params), params, 0, CPU, corpus / f"state{rate}")).history
    assert seen[0]["val_ce"] == pytest.approx(seen[1]["val_ce"], abs=1e-6)
    assert seen[0]["train_ce"] != pytest.approx(seen[1]["train_ce"], abs=1e-5)


@pytest.mark.parametrize("name", ["bclstm", "foalnet", "logreg"])
def test_it_changes_what_is_learned(corpus, name):
    runs = []
    for rate in (0.0, 0.4):
        params = small.params(model={"name": name}, train={"epochs": 2, "lr": 1e-2, "modality_dropout": rate})
        runs.append(hashed(last(fit(read(params), params, 0, CPU, corpus / f"state{rate}"))))
    assert runs[0] != runs[1]


def test_it_is_off_unless_params_ask_for_it(corpus, monkeypatch):
    """Off, nothing is drawn from the generator, which orders the batches too."""
    monkeypatch.setattr(loop, "drawn", None)
    params = small.params(model={"name": "bclstm"}, train={"epochs": 1})
    assert params.train.modality_dropout == 0
    last(fit(read(params), params, 0, CPU, corpus / "state"))
