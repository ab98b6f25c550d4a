"""A resumed run with `train.keep_epochs` kept the later epochs alone, so that oracle_test was another number, or none.

DVC deletes models/ before the stage: what earlier epochs had written there was gone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.train import small
from train import stage
from train.fusion import loop

EPOCHS = 6


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    small.make(tmp_path)
    params = small.params(train={"epochs": EPOCHS, "patience": EPOCHS, "keep_epochs": True})
    Path("params.yaml").write_text(params.model_dump_json(), encoding="utf-8")


def kept() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("models/seed0/epochs").iterdir()}


def stopped(monkeypatch, module, name: str, call: int) -> None:
    """Run the stage up to a call of `module.name`, then delete models/ as DVC does."""
    real, calls = getattr(module, name), 0

    def stop(*args):
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(module, name, stop)
        with pytest.raises(KeyboardInterrupt):
            stage.run()
    shutil.rmtree("models")


@pytest.mark.slow
def test_a_resumed_run_has_the_weights_of_every_epoch(monkeypatch):
    stage.run()
    whole = kept()
    assert len(whole) == EPOCHS
    stopped(monkeypatch, loop, "added", 4)
    stage.run()
    assert kept() == whole
    stopped(monkeypatch, stage, "write_model", 1)
    stage.run()
    assert kept() == whole
    assert not list(Path(".cache/train").iterdir()), "they go with the state"


def test_epochs_of_another_run_are_cleared():
    stage.run()
    for settings in ({"keep_epochs": True, "epochs": 2}, {"epochs": 2}):
        Path("params.yaml").write_text(small.params(train=settings).model_dump_json(), encoding="utf-8")
        stage.run()
        found = sorted(path.name for path in Path("models/seed0").glob("epochs/*"))
        assert found == (["1.safetensors", "2.safetensors"] if settings.get("keep_epochs") else [])
