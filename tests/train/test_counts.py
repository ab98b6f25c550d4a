"""How much training computes: one pass a batch, one step a training batch, and no pass over the test split."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.train import small
from train.fusion.build import read
from train.fusion.loop import SCORED, fit
from train.models.multiemo.network import MultiEMO

EPOCHS = 3


def test_passes_steps_and_utterances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    params = small.params(train={"epochs": EPOCHS})
    data = read(params)
    seen: dict[bool, list[int]] = {True: [], False: []}
    steps = []

    def count(module: torch.nn.Module, inputs: tuple) -> None:
        if isinstance(module, MultiEMO):
            seen[module.training].append(len(inputs[0].labels))

    hooks = [
        register_module_forward_pre_hook(count),
        register_optimizer_step_post_hook(lambda *_: steps.append(1)),
    ]
    try:
        list(fit(data, params, 0, torch.device("cpu"), tmp_path / "state"))
    finally:
        for hook in hooks:
            hook.remove()
    batches = math.ceil(len(data.units("train")) / params.train.batch_size)
    assert len(seen[True]) == len(steps) == EPOCHS * batches
    assert len(seen[False]) == EPOCHS * math.ceil(len(data.units("val")) / SCORED)
    for training, split in ((True, "train"), (False, "val")):
        assert sum(seen[training]) == EPOCHS * (data.split == split).sum()
