"""Compute line charts as numbers; the page's template draws them as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from evaluate.run.plots import apart, curves
from evaluate.run.results import Run
from pipeline.pages.palette import OKABE_ITO

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 10, 30
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4")


@dataclass(frozen=True)
class Line:
    """A polyline: `points` in SVG coordinates; faint lines belong to seeds other than the shown one."""

    name: str
    colour: str
    dash: str
    faint: bool
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Lines and ticks in a box of 420 × 250; ticks are (position, text)."""

    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    mark: float | None = None
    dots: tuple[tuple[float, float, float], ...] = ()


def history(run: Run) -> dict[str, Chart]:
    """Return the charts `scores`, `loss` and `correlation` by epoch, with the first seed's chosen epoch marked.

    Soft-HGR has a chart of its own, because its values would flatten the curves of the other losses. A run without
    Soft-HGR has no such chart.
    """
    first = run.history[run.first.seed]
    loss, scores = curves(list(first.columns))
    last = max(float(frame["epoch"].max()) for frame in run.history.values())
    losses, correlation = apart(loss)
    parts = {"scores": scores, "loss": losses, "correlation": correlation}
    return {
        name: _epochs(run, columns, last)
        for name, columns in parts.items()
        if columns or name != "correlation"
    }


def reliability(bins: Sequence[dict[str, Any]]) -> Chart:
    """Return accuracy against confidence: the diagonal, and one dot per bin whose area is the bin's share."""
    scale = _Scale((0, 1), (0, 1))
    total = sum(b["count"] for b in bins)
    dots = tuple(
        (*scale.point(b["confidence"], b["accuracy"]), round(2.5 + 14 * (b["count"] / total) ** 0.5, 1))
        for b in bins
    )
    diagonal = Line(
        "as confident as right", "currentColor", "3 4", True, [scale.point(0, 0), scale.point(1, 1)]
    )
    return Chart([diagonal], scale.x_ticks(), scale.y_ticks(), dots=dots)


def _epochs(run: Run, columns: list[str], last: float) -> Chart:
    lines, values = [], []
    for frame in run.history.values():
        values += [v for c in columns if c in frame for v in frame[c].dropna()]
    scale = _Scale((1, max(last, 2)), (min(values, default=0.0), max(values, default=1.0)))
    # The shown seed is drawn last, on top of the faint ones.
    for seed, frame in sorted(run.history.items(), key=lambda item: item[0] == run.first.seed):
        for i, column in enumerate(c for c in columns if c in frame):
            kept = frame[["epoch", column]].dropna()
            points = [scale.point(x, y) for x, y in kept.itertuples(index=False)]
            colour, dash = OKABE_ITO[i % len(OKABE_ITO)], DASHES[i % len(DASHES)]
            lines.append(Line(column, colour, dash, seed != run.first.seed, points))
    mark = scale.point(run.best_epoch[run.first.seed], 0)[0]
    return Chart(lines, scale.x_ticks(integer=True), scale.y_ticks(), mark)


class _Scale:
    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = x, y if y[1] > y[0] else (y[0] - 0.5, y[0] + 0.5)

    def point(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return round(LEFT + across * width, 1), round(TOP + (1 - up) * height, 1)

    def x_ticks(self, integer: bool = False) -> list[tuple[float, str]]:
        return [(self.point(v, self.y[0])[0], f"{v:g}") for v in _nice(self.x, integer)]

    def y_ticks(self) -> list[tuple[float, str]]:
        return [(self.point(self.x[0], v)[1], f"{v:.6g}") for v in _nice(self.y)]


def _nice(ends: tuple[float, float], integer: bool = False) -> list[float]:
    ticks = MaxNLocator(5, integer=integer).tick_values(*ends)
    return [float(v) for v in ticks if ends[0] <= v <= ends[1]]
