from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import rows
from tests.clone import ROOT

STAGES = ("plan", "extract", "merge", "verify", "load")


@pytest.mark.slow
def test_every_stage_of_a_thousand_utterances_is_measured(tmp_path: Path) -> None:
    command = ["benchmarks.scale", "sizes", "--utterances", "1000", "--json", str(tmp_path / "rows.json")]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = rows.read(tmp_path / "rows.json")
    for stage in STAGES:
        assert any(stage in str(key) for key in found), (stage, found)
        assert any(line.split()[1:2] == [stage] for line in done.stdout.splitlines())
