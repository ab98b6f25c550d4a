"""A full disk, a closed or full output and an early Ctrl-C are one message each, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train import small
from tests.warm_python import run

ROOT = Path(__file__).parents[2]
# A limit on the size of files is what a test can have of a full disk: a write beyond it fails in the same way.
LIMITED = """
import resource, sys
from {module} import main
from pipeline.errors import entry
from train.fusion import loop
loop.SAVE_EVERY = 0.0
for limit in {limits}:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        entry(main)
    except SystemExit as end:
        assert end.code == 2
    else:
        raise AssertionError(limit)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    small.make(folder)
    (folder / "params.yaml").write_text(
        small.params(train={"epochs": 2}, evaluate={"bootstrap": 20}).model_dump_json()
    )
    done = run(warm_python, folder, "train", EMOFUSE_DEVICE="cpu")
    assert done.returncode == 0, done.stderr
    return folder


def python(folder: Path, *words: str) -> subprocess.CompletedProcess:
    known = {k: v for k, v in os.environ.items() if not k.startswith(("EMOFUSE_", "DVC_"))}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True,
        env={**known, "PYTHONPATH": str(ROOT), "EMOFUSE_DEVICE": "cpu"},
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".cache/lock" not in str(path) and "live" not in path.parts
    }


def limited(folder: Path, module: str, limits: list[int]) -> list[str]:
    """Return the message of a stage for each limit, from one process."""
    done = python(folder, "-c", LIMITED.format(module=module, limits=limits))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith(("error", "Traceback"))]
    assert len(said) == len(limits), done.stderr
    return said


@pytest.mark.slow
def test_training_on_a_full_disk(trained: Path) -> None:
    before = files(trained)
    state_does_not_fit, nothing_fits = limited(trained, "train.__main__", [20_000, 0])
    assert ".cache/train/" in state_does_not_fit
    assert ".cache/" in nothing_fits
    for said in (state_does_not_fit, nothing_fits):
        assert "not written: File too large; free space" in said
    assert files(trained) == before


@pytest.mark.slow
def test_evaluating_on_a_full_disk(trained: Path, warm_python: Path) -> None:
    assert run(warm_python, trained, "evaluate", EMOFUSE_DEVICE="cpu").returncode == 0
    before = files(trained)
    for said in limited(trained, "evaluate.__main__", [0, 2000, 30_000]):
        assert ": not written: File too large; free space" in said
    assert files(trained) == before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_to_a_full_disk_is_one_message(trained: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "extract", "--help"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: No space left on device; free space or memory, or use another disk or machine, then run again"
    ]


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m extract --help | true", shell=True, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("module", ["train", "evaluate"])
def test_ctrl_c_while_packages_are_imported_is_one_message(trained: Path, module: str) -> None:
    # torch is what takes long; here importing it is where Ctrl-C comes.
    program = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Pressed:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'torch':\n"
        f"            os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "sys.meta_path.insert(0, Pressed())\n"
        f"sys.argv = [{module!r}]\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    done = python(trained, "-c", program)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert len(done.stderr.split()) > 0
