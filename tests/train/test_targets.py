"""What a model learns, for every kind: loss, answers, scores, the best constant answer, and what a record keeps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import rel_entr
from sklearn.metrics import f1_score

from pipeline.errors import UserError
from pipeline.params import TargetKind
from pipeline.strict import validate
from pipeline.tables.target import Target
from tests.train import goals, small
from train.calibration import Calibration
from train.fusion.params import fusion
from train.record import Record
from train.targets import GOALS, recorded_goal
from train.targets.multi import thresholds
from train.targets.values import concordance
from train.truth import known, majority, one_label, truth_of

LABELS = torch.tensor([0, 1, 2, 1, 1, 2, -1, 0])
K = 3


def made(kind: TargetKind):
    """Return a goal, the truth of its labelled utterances, and random logits."""
    truth = goals.truth(kind, LABELS, K)
    truth = truth[known(truth)]
    return (
        goals.goal(kind, LABELS, K),
        truth,
        torch.randn(len(truth), K, generator=torch.Generator().manual_seed(1)),
    )


def test_cells_become_truths():
    table = pd.DataFrame({"emotion": ["joy:3|calm:1", "", "calm"], "v": [1.5, math.nan, -2]})
    names = ["joy", "calm"]
    nan = [math.nan, math.nan]
    for kind, expected in (
        ("soft", [[0.75, 0.25], nan, [0, 1]]),
        ("values", [[1.5], [math.nan], [-2]]),
    ):
        found = truth_of(table, Target(names, kind, ["v"] if kind == "values" else []))
        torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)
        assert known(found).tolist() == [True, False, True]
    several = truth_of(pd.DataFrame({"emotion": ["calm|joy", "joy", ""]}), Target(names, "multi"))
    torch.testing.assert_close(several, torch.tensor([[1.0, 1], [1, 0], nan]), equal_nan=True)
    assert truth_of(pd.DataFrame({"emotion": ["calm", ""]}), Target(names)).tolist() == [1, -1]


def test_tied_votes_have_no_majority():
    votes = torch.tensor([[0.5, 0.5, 0], [0.2, 0.5, 0.3], [math.nan] * 3, [1 / 3] * 3])
    assert majority(votes).tolist() == [-1, 1, -1, -1]
    assert one_label(votes, "soft", "").tolist() == [-1, 1, -1, -1]
    for kind in ("multi", "values"):
        with pytest.raises(UserError, match=f"corpus.target={kind}: finetune.x .*single or soft"):
            one_label(votes, kind, "finetune.x trains a classifier")


@pytest.mark.parametrize("kind", GOALS)
def test_the_constant_answer_is_the_best_and_is_the_baseline(kind):
    goal, truth, logits = made(kind)
    best = goal.constant(truth).expand(len(truth), -1).float()
    if kind != "values":
        # Smoothing costs little; any other constant costs more.
        assert goal.loss(best, truth) < min(goal.loss(row.expand_as(best), truth) for row in logits)
    main = f"val_{goal.main}"
    assert goal.scores(best, truth)[main] == pytest.approx(goal.baseline(truth), abs=1e-6)
    right = 20 * (goal.scaled(truth).float() if kind != "single" else torch.eye(K)[truth])
    assert goal.scores(right if kind != "values" else right / 20, truth)[main] > goal.baseline(truth)


@pytest.mark.parametrize("kind", GOALS)
def test_a_loss_of_no_utterance_is_zero_and_has_a_gradient(kind):
    goal, truth, logits = made(kind)
    none = logits[:0].requires_grad_()
    loss = goal.loss(none, truth[:0])
    loss.backward()
    assert loss.item() == 0
    one = logits[:1].requires_grad_()
    goal.loss(one, truth[:1]).backward()
    assert torch.isfinite(one.grad).all()


@pytest.mark.parametrize("kind", GOALS)
def test_the_divergence_of_equal_logits_is_zero_and_of_others_positive(kind):
    goal, _, logits = made(kind)
    assert goal.divergence(logits, logits).abs().max() < 1e-6
    assert (goal.divergence(logits, logits.flip(0))[:3] > 0).all()


def test_the_divergence_of_votes_is_the_cross_entropy_less_their_entropy():
    goal, truth, logits = made("soft")
    found = goal.scores(logits, truth)
    model = logits.double().softmax(-1).numpy()
    assert found["val_kl"] == pytest.approx(rel_entr(truth.numpy(), model).sum(1).mean(), rel=1e-5)
    entropy = -(truth * truth.log().nan_to_num()).sum(-1).mean().item()
    assert found["val_ce"] == pytest.approx(found["val_kl"] + entropy, rel=1e-5)
    with pytest.raises(UserError, match="tied"):
        goal.scores(logits[:2], torch.tensor([[0.5, 0.5, 0]] * 2))


def test_thresholds_are_those_of_the_best_f1():
    rng = np.random.default_rng(0)
    wanted = rng.random((60, 4)) < [0.5, 0.1, 0.9, 0.0]
    found = np.clip(0.3 * rng.random((60, 4)) + 0.2 * wanted, 0, 1)
    chosen = thresholds(found, wanted)
    assert chosen[3] == 0.5
    for k in range(3):
        best = max(f1_score(wanted[:, k], found[:, k] >= level) for level in np.unique(found[:, k]))
        assert f1_score(wanted[:, k], found[:, k] >= chosen[k]) == best
        assert np.abs(found[:, k] - chosen[k]).min() > 1e-6


def test_concordance():
    x = torch.tensor([1.0, 2, 3, 4])
    assert concordance(x, x) == 1
    assert concordance(x, -x + 5) == pytest.approx(-1)
    assert concordance(torch.full((4,), 2.5), x) == 0
    # By hand: cov 1.25, variances 1.25, means 1 apart.
    assert concordance(x + 1, x) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))


@pytest.mark.parametrize("measure", ["ccc", "mse"])
def test_values_are_learnt_in_standard_deviations(measure):
    truth = torch.tensor([[1.0, 100], [3, math.nan], [5, 300], [math.nan, math.nan]])
    train = small.params(train={"regression": measure}).train
    goal = GOALS["values"].of(["v", "w"], truth, train)
    assert goal.counts.tolist() == [3, 2]
    assert goal.mean.tolist() == [3, 200]
    torch.testing.assert_close(goal.sd, torch.tensor([math.sqrt(8 / 3), 100]).double())
    torch.testing.assert_close(goal.answers(goal.scaled(truth).float()), truth, equal_nan=True)
    assert goal.loss(goal.scaled(truth)[:3], truth[:3]).item() == pytest.approx(0, abs=1e-6)
    zero = goal.loss(torch.zeros(3, 2), truth[:3]).item()
    assert zero == pytest.approx(1.0)  # CCC of a constant is 0; the mean squared error is the variance


@pytest.mark.parametrize("kind", GOALS)
def test_a_record_keeps_the_goal(kind):
    goal, truth, logits = made(kind)
    found = goal.calibrated(logits, truth)
    fields = json.loads(
        json.dumps({**goal.record(), "thresholds": found.thresholds, "temperature": found.temperature})
    )
    params = small.params()
    chosen = fusion(params)
    zeros = {"mean": [0.0], "sd": [1.0]}
    stream = {
        "stream": "s", "corpus": "c", "encoder": {}, "weights": {}, "packages": {}, "code": "", "fingerprint": "",
    }  # fmt: skip
    record = validate(
        Record,
        {
            "seed": 0, "params": {"train": params.train.model_dump(mode="json"), **chosen.record()},
            "dims": {"text": 1}, "statistics": {"text": zeros}, "streams": {"text": stream}, "dropped": {},
            "best_epoch": 1, "packages": {"torch": ""}, "code": "", **fields,
        },
        Path("model.json"),
    )  # fmt: skip
    again = recorded_goal(record)
    assert type(again) is type(goal)
    torch.testing.assert_close(again.answers(logits), goal.answers(logits))
    assert again.target() == goal.target()
    assert isinstance(found, Calibration)
    assert len(found.thresholds) == (K if kind == "multi" else 0)


@pytest.mark.parametrize("model", ["multiemo", "foalnet"])
@pytest.mark.parametrize("kind", ["multi", "values"])
def test_a_term_that_needs_one_label_is_refused(model, kind):
    corpus = {"target": kind, "values": ["v"] if kind == "values" else []}
    streams = {"text": "none", "audio": "voice", "visual": "look"}
    names = {"multiemo": "loss.mu1=0", "foalnet": "loss.avel=0 and loss.mem=0"}
    with pytest.raises(
        UserError, match=f"needs one label per utterance, but corpus.target={kind}; set .*{names[model]}"
    ):
        fusion(small.params(corpus=corpus, model={"name": model}, train={"streams": streams}))
    off = {"mu1": 0.0, "avel": 0.0, "mem": 0.0}
    assert fusion(small.params(corpus=corpus, model={"name": model}, loss=off, train={"streams": streams}))
