"""benchmarks/extract.py once named an option that it did not have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
USAGES = [
    (path.stem, line.strip())
    for path in sorted(FOLDER.glob("*.py"))
    for line in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()
    if "python -m benchmarks." in line
]


@pytest.mark.parametrize(("stem", "line"), USAGES, ids=[line for _, line in USAGES])
def test_every_option_in_a_benchmarks_usage_is_an_option_of_that_benchmark(stem, line):
    called = re.findall(r"python -m benchmarks\.(\w+)", line)
    assert called == [stem], "a usage line calls the benchmark that it describes"
    source = (FOLDER / f"{stem}.py").read_text(encoding="utf-8")
    known = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', source))
    assert set(re.findall(r"(?<=\s)--[a-z][\w-]*", line.partition("#")[0])) <= known


def test_every_benchmark_with_a_command_line_shows_its_usage():
    commands = {
        path.stem
        for path in FOLDER.glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert commands == {stem for stem, _ in USAGES}
