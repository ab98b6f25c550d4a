"""The suite and the benchmark of GPUs run on the CPU too, so a machine with a GPU needs one command and no repair."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import rows

ROOT = Path(__file__).parents[1]


def dry_run(*words: str, device: str = "cpu") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env={**os.environ, "EMOFUSE_DEVICE": device},
        capture_output=True, text=True,
    )  # fmt: skip


def test_other_suites_leave_it_out(request: pytest.FixtureRequest) -> None:
    assert "gpu" in request.config.getini("norecursedirs")
    assert not [item for item in request.session.items if item.path.is_relative_to(ROOT / "tests/gpu")]


@pytest.mark.slow
def test_a_part_of_the_suite_passes_on_the_cpu() -> None:
    done = dry_run("pytest", "tests/gpu", "-k", "fer2013 or halved or (agree and bclstm)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


@pytest.mark.slow
def test_a_missing_gpu_is_an_error_and_not_a_pass() -> None:
    done = dry_run("pytest", "tests/gpu", "-k", "halved", device="cuda:99")
    assert done.returncode == 1
    assert "no such GPU" in done.stdout


@pytest.mark.slow
def test_the_whole_suite_passes_on_the_cpu() -> None:
    done = dry_run("pytest", "tests/gpu")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_benchmark_measures_every_row_on_the_cpu(tmp_path: Path) -> None:
    done = dry_run("benchmarks.gpu", "--seconds", "0", "--json", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows.read(tmp_path / "gpu.json")
    assert len(found) == done.stdout.count("/s |") + done.stdout.count(" ms |") == 14
    assert min(found.values()) > 0
