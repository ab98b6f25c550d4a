"""The journal and the commands under DVC: temporary and queued experiments, retried failures."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.features import FeatureCache
from tests.extract.project import PATIENCE, REPOSITORY, Project, sentences

PIPELINE = f"""
stages:
  extract:
    foreach: ${{extract}}
    do:
      cmd: {sys.executable} -m tests.extract.project ${{key}}
      deps: [data/utterances.csv]
      params: ["extract.${{key}}"]
      outs: ["data/features/${{key}}.h5"]
  train:
    cmd: sha256sum data/features/fake.h5 > model.txt
    deps: [data/features/fake.h5]
    params: [loss]
    outs: [model.txt]
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path, [*sentences(30), "flaky"], batch=1, dim=8)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / ".gitignore").write_text("/.cache\n/extracted.log\n/data/features\n/model.txt\n")
    for name in [name for name in os.environ if name.startswith(("EMOFUSE_", "DVC_", "FAKE_"))]:
        monkeypatch.delenv(name)
    # The queue starts its workers as `dvc`.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("FAKE_LOG", str(made.log))
    monkeypatch.setenv("EMOFUSE_WORKERS", "1")
    git(made, "init", "-q")
    dvc(made, "init", "-q")
    dvc(made, "config", "core.analytics", "false")
    dvc(made, "repro")
    git(made, "add", ".")
    git(made, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    assert len(made.extracted()) == 31
    return made


def git(made: Project, *args: str) -> None:
    subprocess.run(["git", *args], cwd=made.root, check=True, capture_output=True)


def dvc(made: Project, *args: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *args], cwd=made.root, capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_temporary_and_queued_experiments_share_the_projects_journal(made: Project) -> None:
    dvc(made, "exp", "run", "--temp", "-S", "extract.fake.dim=9")
    assert len(made.extracted()) == 62
    # Another stream's params with the same features: a merge, no extraction.
    dvc(made, "exp", "run", "--temp", "-S", "extract.fake.dim=9", "-S", "+extract.fake.timeout=100")
    assert len(made.extracted()) == 62
    for timeout in (200, 300):
        changed = ("-S", "extract.fake.dim=10", "-S", f"+extract.fake.timeout={timeout}")
        dvc(made, "exp", "run", "--queue", *changed)
    dvc(made, "queue", "start", "-j", "2")
    deadline = time.monotonic() + PATIENCE
    while (status := dvc(made, "queue", "status")).count("Success") < 2:
        assert "Failed" not in status
        assert time.monotonic() < deadline, status
        time.sleep(2)
    # Two at once may both have the same items under way, and no more.
    assert set(Counter(made.extracted()[62:]).values()) <= {1, 2}
    assert len(set(made.extracted()[62:])) == 31
    assert len(list((made.root / ".cache/journal").glob("*.sqlite"))) == 3


@pytest.mark.slow
def test_what_retry_says_makes_dvc_keep_the_new_file(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    old = made.sha256
    assert "30 ok, 1 failed" in made.run("status").stdout
    retried = made.run("retry", "fake", FAKE_MENDED=1)
    assert "31 ok; extracted 1 in" in retried.stdout
    new, steps = made.sha256, retried.stdout.splitlines()[-1].removeprefix("to keep the new file: ")
    assert new != old
    for step in steps.split(" && "):
        dvc(made, *step.split()[1:])
    assert made.sha256 == new
    assert (made.root / "model.txt").read_text().startswith(new)
    # The cache gives back the new file, not the old one.
    made.file.unlink()
    dvc(made, "repro")
    assert made.sha256 == new


@pytest.mark.slow
def test_params_edited_while_dvc_runs_do_not_pass_for_those_of_the_old_features(made: Project) -> None:
    reached, go_on = made.root / "reached", made.root / "go-on"
    made.table([*sentences(30), f"touch={reached} await={go_on}"])
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=made.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while not reached.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        made.params(batch=1, dim=9)
        go_on.touch()
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "error: changed while the stage ran: params.yaml: extract.fake." in said
    assert not made.file.exists()
    assert "extract@fake" in dvc(made, "status")
    dvc(made, "repro")
    with FeatureCache(made.file) as cache:
        assert cache.meta.pooled_dim == 9
    assert "up to date" in dvc(made, "status")
