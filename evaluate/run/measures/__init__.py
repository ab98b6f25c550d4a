"""How a run is scored: one module for each `corpus.target`."""

from __future__ import annotations

from evaluate.run.measures.labels import Labels
from evaluate.run.measures.measure import Measure
from evaluate.run.measures.multi import Several
from evaluate.run.measures.soft import Votes
from evaluate.run.measures.values import Numbers
from evaluate.run.results import Run
from pipeline.params import TargetKind

MEASURES: dict[TargetKind, type[Measure]] = {
    "single": Labels, "soft": Votes, "multi": Several, "values": Numbers,
}  # fmt: skip


def measure_of(run: Run) -> Measure:
    """Return the measure of a run's target."""
    return MEASURES[run.params.corpus.target](run)
