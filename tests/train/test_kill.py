"""`python -m train`, killed in the middle and started again, ends with the bytes of a run that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train import small

ROOT = Path(__file__).parents[2]
# Every epoch's state goes to disk, so that a kill falls behind one.
TRAIN = "from train import __main__\nfrom train.fusion import loop\nloop.SAVE_EVERY = 0.0; __main__.main()"
KILLED = f"""
import os, signal
from train.fusion import loop
write, count = loop.write_state, 0
def write_and_die(*args):
    global count
    write(*args)
    count += 1
    if count == 7:
        os.kill(os.getpid(), signal.SIGKILL)
loop.write_state = write_and_die
{TRAIN}
"""


def run(folder: Path, program: str = TRAIN) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "EMOFUSE_DEVICE": "cpu"}
    env.pop("DVC_ROOT", None)
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=env, capture_output=True, text=True
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
    whole = run(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert run(tmp_path / "killed", KILLED).returncode == -signal.SIGKILL
    assert (tmp_path / "killed/.cache/train").exists()
    assert not (tmp_path / "killed/models/seed0/model.json").exists()
    again = run(tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    for name in "model.safetensors", "model.json", "distance.safetensors", "history.csv":
        files = [tmp_path / run / "models/seed0" / name for run in ("whole", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes(), name
