"""Imports run one way: evaluate → train → extract → pipeline. A file is short."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipeline.closure import PACKAGES, ROOT


def imported(file: Path) -> set[str]:
    """Return the packages of this project that a file imports, wherever in it, for types alone too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            found.add((node.module or "").split(".")[0])
    return found & set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_none_above_it(package: str) -> None:
    assert PACKAGES == ("pipeline", "extract", "train", "evaluate"), "in the order of the floors"
    above = set(PACKAGES[PACKAGES.index(package) + 1 :])
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert {f"{f.relative_to(ROOT)}: {up}" for f in files for up in imported(f) & above} == set()


def test_models_know_nothing_of_corpora_or_the_loop() -> None:
    for file in (ROOT / "train/models").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not {"train.data", "train.fusion"} & {
            f"train.{p}" for p in ("data", "fusion") if f"train.{p}" in text
        }


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks", "tests"])
def test_a_file_has_fewer_than_300_lines(folder: str) -> None:
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n >= 300} == {}
