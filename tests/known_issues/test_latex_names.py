"""Names with a tilde, a caret, braces or a backslash made LaTeX that does not compile, or says something else."""

from __future__ import annotations

import pandas as pd

from evaluate.experiments.render import render
from evaluate.run.metrics import METRICS


def test_every_special_character_is_escaped():
    row = {"row": r"HEAD~1^ {a}\b", "p": 0.5}
    row |= {column: 50.0 for m in METRICS for column in (m, f"{m}_sd")}
    line = render(pd.DataFrame([row]), "latex").splitlines()[4]
    assert line.startswith(r"HEAD\textasciitilde{}1\textasciicircum{} \{a\}\textbackslash{}b & ")
