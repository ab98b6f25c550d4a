"""`python -m train`, killed in the middle and started again, ends with the bytes of a run that was not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train import small

ROOT = Path(__file__).parents[2]
# Every epoch's state goes to disk, so that a kill falls behind one.
TRAIN = "from train import __main__, loop; loop.SAVE_EVERY = 0.0; __main__.main()"


def start(folder: Path) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "EMOFUSE_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    env.pop("DVC_ROOT", None)
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def prepare(folder: Path) -> None:
    folder.mkdir()
    small.make(folder)
    small.add_frames(folder)
    params = small.params(
        model={"name": "foalnet", "dropout": 0.3},
        train={"epochs": 40, "patience": 40},
        extract={name: {"encoder": "text", "frames": "f4"} for name in small.STREAM.values()},
    )
    (folder / "params.yaml").write_text(params.model_dump_json(), encoding="utf-8")


@pytest.mark.slow
def test_killed_and_started_again_is_the_same_model(tmp_path):
    for name in "whole", "killed":
        prepare(tmp_path / name)
    whole = start(tmp_path / "whole")
    assert whole.wait() == 0, whole.stderr.read().decode()
    killed, states = start(tmp_path / "killed"), tmp_path / "killed/.cache/train"
    deadline = time.monotonic() + 120
    while not list(states.glob("*/seed0.pt")):
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "killed/models/seed0/model.json").exists()
    again = start(tmp_path / "killed")
    assert again.wait() == 0, again.stderr.read().decode()
    for name in "model.safetensors", "model.json", "history.csv":
        files = [tmp_path / run / "models/seed0" / name for run in ("whole", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes(), name
