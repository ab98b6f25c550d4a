"""`--help` of every `python -m …`: beside params that are refused, with an example, and it does nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warm_python import run

ROOT = Path(__file__).parents[1]
ENTRIES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("pipeline", "extract", "train", "evaluate", "benchmarks")
    for path in (ROOT / package).rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
)
COMMANDS = [
    *ENTRIES,
    *(f"extract {command}" for command in ("text", "status", "retry", "clean")),
    *(f"pipeline.features {command}" for command in ("info", "verify", "diff", "export", "import")),
    *(f"evaluate.experiments.tables {command}" for command in ("run", "queue", "show", "compare")),
]


def test_all_entries_are_known():
    assert len(ENTRIES) > 12
    assert {"train", "train.finetune", "evaluate", "evaluate.predict", "pipeline.prepare"} <= set(ENTRIES)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_helps_and_does_nothing(tmp_path, command, warm_python):
    # Files that would be refused: help reads none, so it needs none.
    (tmp_path / "params.yaml").write_text("nonsense: 1\n")
    (tmp_path / "models/seed0").mkdir(parents=True)
    (tmp_path / "models/seed0/model.json").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = run(warm_python, tmp_path, *command.split(), "--help", COLUMNS="110")
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage:" in done.stdout or command == "extract"
    if " " not in command:
        assert f"\n    python -m {command}" in done.stdout
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert f" python -m {command}\n```text\n{done.stdout.rstrip()}\n```\n" in page, (
        "run `python -m tests.docs.reference`"
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
