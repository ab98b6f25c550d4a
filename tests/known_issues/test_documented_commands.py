"""benchmarks/extract.py once named an option that it did not have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_option_that_a_benchmark_names_is_one_that_it_takes(path):
    source = path.read_text(encoding="utf-8")
    usage = ast.get_docstring(ast.parse(source)) or ""
    named = set(re.findall(r"(?<=\s)--[a-z][\w-]*", usage))
    assert named <= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', source))
