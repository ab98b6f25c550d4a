"""The benchmark of a training step took dropout and weights of losses from the project's defaults, not the paper."""

from __future__ import annotations

import pytest

from benchmarks.shapes import settings
from evaluate.experiments import paper


@pytest.mark.parametrize(
    ("name", "changes"), [("meld", paper.MELD), ("iemocap-32", paper.IEMOCAP), ("iemocap-64", paper.IEMOCAP)]
)
def test_the_step_has_the_papers_settings(name: str, changes: paper.Changes) -> None:
    found = settings()[name]
    for section, params in (("model", found.model), ("loss", found.loss)):
        assert {knob: getattr(params, knob) for knob in changes[section]} == changes[section]
    assert found.model.dropout == 0, "the published code has no dropout"
    assert found.model.heads == 4
