"""The loop that fits an encoder: batches, learning rate, gradients, resume, several processes."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from extract.streams import base_of, load_checked
from pipeline.errors import UserError
from pipeline.tables.schema import read_utterances
from tests.clone import ROOT
from tests.extract import tiny_models
from tests.train import tuned
from train.finetune import loop as encoder_loop
from train.finetune.loop import Classifier, batches, slope


@pytest.fixture(autouse=True)
def project(tuned_project) -> Path:
    return tuned_project


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 6, 7, 20])
def test_stopped_and_resumed_equals_uninterrupted(monkeypatch, project, stop):
    """Within an epoch, at its end, at the next one's first step: six steps an epoch."""
    tuned.change(project, "finetune", epochs=4)
    monkeypatch.setattr(encoder_loop, "SAVE_RATIO", 0.0)
    tuned.finetune(monkeypatch)
    whole = tuned.contents()
    write, steps = encoder_loop.write_state, []

    def write_and_stop(path, state):
        write(path, state)
        steps.append(state["step"])
        if len(steps) == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(encoder_loop, "write_state", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        tuned.finetune(monkeypatch)
    assert tuned.contents() == whole  # what was there stays until there is better
    torch.rand(7)  # whatever else has used the generators since
    tuned.finetune(monkeypatch)
    assert steps == list(range(1, 25))
    assert tuned.contents() == whole


def stage(*launcher: str, **environment: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    words = [sys.executable, "-m", *launcher, "tests.train.tuned", "tuned"]
    return subprocess.run(words, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_bytes(project):
    tuned.change(project, "finetune", epochs=2)
    assert stage().returncode == 0
    whole = tuned.contents()
    shutil.rmtree("weights")
    assert stage(KILL_AFTER="5").returncode == -signal.SIGKILL
    assert not Path("weights").exists()
    assert stage().returncode == 0
    assert tuned.contents() == whole


@pytest.mark.slow
def test_two_processes_take_one_process_steps(project, tmp_path_factory):
    base = tiny_models.bert(
        tmp_path_factory.mktemp("still"), initializer_range=0.1, num_hidden_layers=2,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    # The last batch of an epoch is one utterance, so that one process is left without any.
    tuned.make(project, base, training={"epochs": 4, "batch_size": 47, "lr": 3e-3})
    assert stage(NO_DROPOUT="1").returncode == 0
    alone, record = load_file("weights/tuned/model.safetensors"), tuned.record()
    done = stage("torch.distributed.run", "--nproc-per-node=2", "-m", NO_DROPOUT="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 4 of 4:") == 1
    for a, b in zip(record["history"], tuned.record()["history"], strict=True):
        assert b == pytest.approx(a, rel=1e-4)
    for name, tensor in load_file("weights/tuned/model.safetensors").items():
        # Keys' biases have no gradient but noise, which Adam makes as large as any.
        if "key.bias" not in name:
            torch.testing.assert_close(tensor, alone[name], rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_not_finite_stops_with_names(monkeypatch, project):
    tuned.change(project, "finetune", lr=1e30, warmup=0.0)
    with pytest.raises(
        UserError, match=r"not finite in epoch 1 .*d\d\d_u\d.*lower finetune\.tuned\.training\.lr"
    ):
        tuned.finetune(monkeypatch)
    assert not Path("weights/tuned").exists()


def test_bf16_is_other_weights_and_learns_too(monkeypatch, project):
    tuned.finetune(monkeypatch)
    full = tuned.contents()["model.safetensors"]
    tuned.change(project, "finetune", precision="bf16")
    tuned.finetune(monkeypatch)
    assert tuned.contents()["model.safetensors"] != full
    assert max(row["val_weighted_f1"] for row in tuned.record()["history"]) > 0.9


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_gradients_of_a_padded_batch_are_those_of_its_utterances(project, pooling):
    params = json.loads(Path("params.yaml").read_text())
    params["finetune"]["tuned"]["pooling"] = pooling
    Path("params.yaml").write_text(json.dumps(params))
    encoder, _ = base_of("tuned", load_checked())
    model = Classifier(encoder, encoder.pooled_dim, 3).eval()
    talk = read_utterances()[:4]
    inputs = [encoder.item(talk, i).content for i in range(4)]
    assert len({encoder.size(one) for one in inputs}) > 1
    found = []
    for groups in ([inputs], [[one] for one in inputs]):
        model.zero_grad()
        sum(model(group).square().sum() for group in groups).backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max() + 1))


@given(
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=700),
    count=st.integers(1, 40),
    epoch=st.integers(0, 3),
)
def test_every_utterance_is_in_one_batch_an_epoch(sizes, count, epoch):
    found = batches(sizes, count, 5, epoch)
    assert sorted(i for batch in found for i in batch) == list(range(len(sizes)))
    assert len(found) == math.ceil(len(sizes) / count)
    assert max(map(len, found)) <= count
    assert found == batches(sizes, count, 5, epoch)


def test_batches_of_like_length_pad_little():
    sizes = np.random.default_rng(0).integers(10, 120, 2000).tolist()
    padded = sum(len(batch) * max(sizes[i] for i in batch) for batch in batches(sizes, 32, 0, 0))
    assert padded < 1.05 * sum(sizes)
    assert batches(sizes, 32, 0, 0) != batches(sizes, 32, 0, 1)


def test_the_learning_rate_rises_and_falls_in_lines():
    rates = [slope(step, 20, 0.25) for step in range(20)]
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert np.diff(rates[5:]) == pytest.approx(-1 / 15)
    assert rates[-1] > 0
    assert [slope(s, 4, 0.0) for s in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert [slope(s, 4, 1.0) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
