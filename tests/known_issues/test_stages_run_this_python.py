"""Stages of experiments ran under another Python if the project's environment was not activated.

`.venv/bin/python -m evaluate.experiments.tables run …` started stages whose command is `python`, the first in PATH.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from evaluate.experiments import clone
from tests.clone import git

# In place of evaluate/experiments/worker.py: it runs a stage as the worker does.
WORKER = """
import sys
from pathlib import Path
from dvc.repo import Repo
with Repo() as repo:
    repo.reproduce(["which"], run_env={"DVC_ROOT": sys.argv[1]})
(Path(sys.argv[1]) / "ran").write_text(Path("which.txt").read_text())
"""
STAGE = """
stages:
  which:
    cmd: python -c 'import sys; print(sys.executable)' > which.txt
    outs: [which.txt]
"""


def test_stages_run_the_python_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "bin/python"
    home = tmp_path / "home"
    files = {
        other: "#!/bin/sh\necho another\n",
        home / "dvc.yaml": STAGE,
        home / "params.yaml": "{}\n",
        home / "evaluate/experiments/worker.py": WORKER,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    other.chmod(0o755)
    git(home, "init", "-q")
    Repo.init(str(home)).close()
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "A stage")
    monkeypatch.chdir(home)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    monkeypatch.setattr(clone, "load", lambda: None)
    monkeypatch.setattr(clone, "tracked", lambda params: None)
    clone.run({"one": []})
    assert (home / "ran").read_text(encoding="utf-8").strip() == sys.executable
