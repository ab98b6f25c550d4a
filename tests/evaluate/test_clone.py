"""Experiments in one process: the bytes of DVC's queue, rows that are kept, rows that fail, a row that is killed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from evaluate.experiments import clone as cloned
from evaluate.experiments import tables
from evaluate.experiments.cost import cost
from tests.clone import edit, experiment, git, run, shell
from tests.known_issues import test_imports_alone as alone

ROWS = {
    "logreg": ["train.seed=1"],
    "bclstm": ["model.name=bclstm", "train.seeds=2", "train.epochs=4"],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with one imported stream."""
    made = alone.project_with_arrays(tmp_path)
    for line in alone.section()[:5]:
        shell(made, line.replace("/path/to/bert", str(tmp_path / "bert")))
    return made


def together(project: Path, experiments: dict[str, list[str]]) -> list[str]:
    """Run experiments as `tables run` does, and return the lines that say what became of them."""
    script = f"from evaluate.experiments import clone; clone.run({experiments!r})"
    output = shell(project, f"python -c {shlex.quote(script)} 2>&1")
    assert not list((project / ".dvc/tmp").glob("emofuse-scratch-*"))
    return [line for line in output.splitlines() if line.partition(": ")[0] in experiments]


def of(project: Path, name: str, path: str) -> str:
    """Return a file of an experiment."""
    return git(project, "show", f"{experiment(project, name)}:{path}")


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_experiments_in_one_process(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(project / "params.yaml", "patience: 20", "patience: 19")  # an uncommitted change is part of both
    before = git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD")
    for name, changes in ROWS.items():
        words = (word for change in changes for word in ("-S", change))
        run(project, "dvc", "exp", "run", "--queue", "-n", f"queued-{name}", *words)
    run(project, "dvc", "exp", "run", "--run-all")

    wanted = {"logreg": ROWS["logreg"], "bad": ["train.fold=nowhere"], "bclstm": ROWS["bclstm"]}
    one, bad, two = together(project, wanted)
    assert one.startswith("logreg: trained in")
    assert bad.startswith("bad: no result: ")
    assert "nowhere" in bad
    assert two.startswith("bclstm: trained in")
    for name in ROWS:
        for path in ("params.yaml", "dvc.lock", "results/metrics.json"):
            assert of(project, name, path) == of(project, f"queued-{name}", path), (name, path)
    assert (git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD")) == before

    monkeypatch.chdir(project)
    found = tables.of_head(list(wanted), "")
    failed = found.pop("bad")
    assert isinstance(failed, tables.Failed)
    assert bad == f"bad: no result: {failed.reason}"
    test = json.loads(of(project, "bclstm", "results/metrics.json"))["test"]
    done = found["bclstm"]
    assert not isinstance(done, tables.Failed)
    assert done[0]["weighted_f1"]["mean"] == test["weighted_f1"]
    assert cost("bclstm")["seconds"] > 0
    assert cost("bclstm")["parameters"] > cost("logreg")["parameters"] == 2 * (4 + 1)

    # The same inputs are kept, others are not, and a killed row does not stop the next.
    edit(
        project / "evaluate/check.py",
        "    params = load_checked()\n",
        "    params = load_checked()\n    import os\n    params.train.seed == 7 and os.kill(os.getpid(), 9)\n",
    )
    wanted = {"bad": ["train.seed=7"], "bclstm": ROWS["bclstm"]}
    assert [line.partition(" in ")[0] for line in together(project, wanted)] == ["bclstm: trained"]
    assert "SIGKILL" in str(cloned.reason(project, cloned.ref(cloned.head(project), "bad")))
    assert together(project, {"bclstm": ROWS["bclstm"]}) == ["bclstm: already there with the same inputs"]

    git(project, "checkout", "-q", ".")
    run(project, "dvc", "exp", "apply", "queued-bclstm")
    run(project, "dvc", "exp", "apply", "bclstm")
    assert "up to date" in run(project, "dvc", "status")
    shown = json.loads(run(project, "dvc", "metrics", "diff", "logreg", "bclstm", "--json"))
    assert "results/metrics.json" in shown
