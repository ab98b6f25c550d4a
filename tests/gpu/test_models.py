"""Every fusion model has the same outputs, losses and gradients on the device as on the CPU, and repeats its bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.params import Params
from tests.gpu.conftest import gap
from tests.train import small
from train.checkpoint import write_weights
from train.data.corpus import Corpus
from train.fusion import loop
from train.fusion.build import build, read
from train.fusion.loop import fit
from train.fusion.params import fusion
from train.models import MODELS
from train.selection import Trained

CPU = torch.device("cpu")
FP32 = 1e-4
# Of the loss, which is a mean over utterances.
BF16 = 0.05
every = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a corpus whose dialogues and frames differ in length, with missing features."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    small.make(tmp_path)
    small.add_frames(tmp_path)


def params(name: str, dropout: float = 0.0, **train: Any) -> Params:
    model, loss = {"name": name, "dropout": dropout}, {"mu2": 0.1, "avel": 0.1}
    return small.params(model=model, train={"epochs": 3, **train}, loss=loss)


def step(data: Corpus, params: Params, where: torch.device, bf16: bool = False) -> dict[str, np.ndarray]:
    """Return logits, terms of the loss, and gradients of the whole train split as one batch."""
    torch.manual_seed(0)
    model, criterion = build(fusion(params), data.dims, data.goal)
    model.to(where).train()
    batch = data.batch(data.units("train"), where)
    with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
        output = model(batch)
        terms = criterion.to(where)(output, batch.labels)
    terms["total"].backward()
    gradients = {k: w.grad for k, w in model.named_parameters() if w.grad is not None}
    assert gradients
    found = {"logits": output.logits.detach(), **{k: v.detach() for k, v in terms.items()}, **gradients}
    return {name: value.float().cpu().numpy() for name, value in found.items()}


@every
def test_outputs_loss_and_gradients_agree_with_the_cpu(name: str, device: torch.device) -> None:
    chosen = params(name)
    data = read(chosen)
    expected, found = step(data, chosen, CPU), step(data, chosen, device)
    assert list(found) == list(expected)
    assert {k: gap(found[k], expected[k]) for k in found if gap(found[k], expected[k]) > FP32} == {}
    rounded = step(data, chosen, device, bf16=True)
    assert gap(rounded["total"], expected["total"]) <= BF16


def weights(runs: Iterator[Trained], file: Path) -> bytes:
    *_, done = runs
    write_weights(file, done.weights)
    return file.read_bytes()


@every
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_file_stopped_or_not(
    name: str, precision: str, device: torch.device, tmp_path: Path
) -> None:
    chosen = params(name, dropout=0.3, precision=precision)
    data, file = read(chosen), tmp_path / "model.safetensors"

    def run(state: str) -> Iterator[Trained]:
        return fit(data, chosen, 3, device, tmp_path / state)

    whole = weights(run("whole"), file)
    assert weights(run("again"), file) == whole
    list(itertools.islice(run("stopped"), 2))
    torch.rand(7, device=device)  # another use of the generator
    assert weights(run("stopped"), file) == whole


@every
def test_training_on_the_device_learns(name: str, device: torch.device, tmp_path: Path) -> None:
    chosen = params(name, epochs=12, lr=1e-2)
    *_, done = fit(read(chosen), chosen, 0, device, tmp_path / "state")
    assert max(row["val_weighted_f1"] for row in done.history) > 0.6 or name == "majority"
