"""A preset of the user's own that is not valid ended the evaluation of every run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evaluate.run import presets
from pipeline.params import load

PRESETS = Path(__file__).parents[2] / "presets"


@pytest.mark.parametrize(
    "broken", ["corpus: demo\n", "corpus: {name: demo}\ntrain: {}\n", "- no mapping\n", "a: [\n"]
)
def test_a_preset_that_is_not_valid_is_passed_over(tmp_path, broken):
    shutil.copytree(PRESETS, tmp_path / "presets")
    (tmp_path / "presets/mine.yaml").write_text(broken)
    found = presets.changed(load(PRESETS / "demo.yaml"), tmp_path / "presets")
    assert found == {"preset": (tmp_path / "presets/demo.yaml").as_posix(), "params": {}}
