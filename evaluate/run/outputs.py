"""The test dialogues of the report for several labels and for values, where an answer is not simply right or wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluate.run.measures import measure_of
from evaluate.run.results import Run


def dialogues(run: Run, groups: list[list[int]]) -> list[dict[str, Any]]:
    """Return the turns of some dialogues with their annotation and the first seed's answer as text.

    Args:
        run: the run.
        groups: the row numbers of each dialogue that the page shows.
    """
    truth, answers = texts(run)
    known = measure_of(run).known
    used = [s for s in run.streams if s.modality not in run.dropped]
    return [
        {
            "name": run.utterances[rows[0]].dialogue,
            "turns": [
                {
                    "utterance": run.utterances[i],
                    "truth": truth[i] if known[i] else "",
                    "answer": answers[i] or "no label",
                    "missing": [(s.modality, s.status[i]) for s in used if s.status[i] != "ok"],
                }
                for i in rows
            ],
        }
        for rows in groups
    ]


def texts(run: Run) -> tuple[list[str], list[str]]:
    """Return the annotation and the first seed's answer of all N utterances as text."""
    if run.params.corpus.target == "values":
        return _numbers(run.names, run.truth), _numbers(run.names, run.first.probabilities)
    columns, _ = measure_of(run).columns()
    return columns["emotion"], columns[f"seed{run.first.seed}"]


def _numbers(names: list[str], values: np.ndarray) -> list[str]:
    return [
        ", ".join(f"{name} {x:.2f}" for name, x in zip(names, row, strict=True) if not np.isnan(x))
        for row in values
    ]
