"""Draw the plots as SVG and PNG with matplotlib, without network or display; equal runs give equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluate.run import shown
from evaluate.run.measures.measure import NAMES
from evaluate.run.plots import apart, attention_by_offset, curves
from evaluate.run.results import Run
from pipeline.disk import replacing
from pipeline.pages.palette import OKABE_ITO, colours

ACCENT = OKABE_ITO[0]
# Label names are plain text, so `$` must not start a formula. The salt makes the ids inside the SVG reproducible.
STYLE: Any = {
    "svg.hashsalt": "emofuse",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "figure.dpi": 150,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def write(run: Run, found: dict[str, Any], folder: Path) -> list[Path]:
    """Draw each plot that has data into `folder` as .svg and .png, and return the paths."""
    paths: list[Path] = []

    def save(
        stem: str, draw: Callable[[Any], None], width: float = 5.0, height: float = 3.6, panels: int = 1
    ) -> None:
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots(1, panels))
        for suffix, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            paths.append(folder / f"{stem}.{suffix}")
            with replacing(paths[-1]) as part:
                figure.savefig(part, format=suffix, metadata=metadata)

    with matplotlib.rc_context(STYLE):
        first = found["seeds"][0]["splits"].get("test")
        if first and first.get("confusion"):
            side = 2.0 + 0.5 * len(run.names)
            counts, shares = np.array(first["confusion"]), np.array(first["confusion_normalised"])
            save("confusion", lambda ax: _matrix(ax, shares, counts, run.names, "d"), side, side)
            save("confusion_normalised", lambda ax: _matrix(ax, shares, shares, run.names, ".2f"), side, side)
        if first and "labels" in first:
            labels, listed = found["splits"]["test"]["labels"], shown.labels(run)
            save("per_label", lambda ax: _bars(ax, run.names, listed, labels), 5.0, 1.0 + 0.34 * len(listed))
        if first and "calibration" in first:
            save("reliability", lambda ax: _reliability(ax, first["calibration"]), 3.6, 3.6)
        if first and "values" in first:
            save("values", lambda axes: _scatter(axes, run), 3.4 * len(run.names), 3.4, len(run.names))
        if found["modalities"]:
            save("modalities", lambda ax: _lost(ax, found["modalities"]), 5.0, 2.2)
        loss, scores = curves(list(run.history[run.first.seed].columns))
        losses, correlation = apart(loss)
        save("loss", lambda ax: _lines(ax, run, losses, "loss"))
        if correlation:
            save("soft_hgr", lambda ax: _lines(ax, run, correlation, "Soft-HGR"))
        save("scores", lambda ax: _lines(ax, run, scores, "score on val"))
        attention = attention_by_offset(run.first)
        if len(attention):
            save("attention", lambda ax: _attention(ax, attention), 6.4, 3.6)
    return paths


def _matrix(ax: Axes, shade: np.ndarray, values: np.ndarray, names: list[str], style: str) -> None:
    ax.imshow(shade, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true")
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if shade[i, j] > 0.6 else "black"
        ax.text(j, i, format(value, style), ha="center", va="center", color=colour, fontsize=8)


def _scatter(axes: Any, run: Run) -> None:
    """Draw the first seed's predicted values of the test split over the annotated ones, one panel per value."""
    rows = run.splits == "test"
    for k, (name, ax) in enumerate(zip(run.names, np.atleast_1d(axes), strict=True)):
        truth, found = run.truth[rows, k], run.first.probabilities[rows, k]
        ax.scatter(truth, found, s=10, color=ACCENT, alpha=0.6, linewidths=0)
        ends = [np.nanmin([truth, found]), np.nanmax([truth, found])]
        ax.plot(ends, ends, color="#888888", linestyle=":", linewidth=1)
        ax.set(xlabel=f"annotated {name}", ylabel=f"predicted {name}")


def _bars(ax: Axes, all_names: list[str], listed: list[int], labels: dict[str, Any]) -> None:
    names = [all_names[i] for i in listed]
    fill = colours(all_names)
    heights = [labels[name]["f1"] or 0.0 for name in names]
    spread = [labels[name]["f1_sd"] or 0.0 for name in names]
    ax.barh(
        range(len(names)), heights, xerr=spread, color=[fill[i] for i in listed], height=0.7, ecolor="#444444"
    )
    shown = [
        f"{name} ({labels[name]['support']})" + ("" if labels[name]["f1"] is not None else ", none")
        for name in names
    ]
    ax.set_yticks(range(len(names)), shown)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="F1 on test (utterances)")
    ax.grid(axis="x", color="#dddddd")


def _lost(ax: Axes, modalities: dict[str, Any]) -> None:
    main = next(iter(next(iter(modalities.values()))["cost"]))
    lost = [row["cost"][main] for row in modalities.values()]
    ax.barh(range(len(lost)), lost, color=ACCENT, height=0.6)
    ax.set_yticks(range(len(lost)), list(modalities))
    ax.invert_yaxis()
    ax.axvline(0, color="#888888", linewidth=1)
    ax.set(xlabel=f"{NAMES[main]} lost on test without it")
    ax.grid(axis="x", color="#dddddd")


def _reliability(ax: Axes, bins: list[dict[str, Any]]) -> None:
    ax.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=1)
    width = [b["high"] - b["low"] for b in bins]
    ax.bar(
        [b["low"] for b in bins], [b["accuracy"] for b in bins], width, align="edge", color=ACCENT, alpha=0.35
    )
    ax.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], "o-", color=ACCENT, markersize=4)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")


def _lines(ax: Axes, run: Run, columns: list[str], label: str) -> None:
    for seed, frame in run.history.items():
        shown = seed == run.first.seed
        for i, column in enumerate(c for c in columns if c in frame):
            colour, alpha = OKABE_ITO[i % len(OKABE_ITO)], 1.0 if shown else 0.25
            ax.plot(frame["epoch"], frame[column], color=colour, alpha=alpha, label=column if shown else None)
    ax.axvline(run.best_epoch[run.first.seed], color="#888888", linestyle=":", linewidth=1)
    ax.set(xlabel="epoch (dotted: chosen on val)", ylabel=label)
    ax.grid(color="#eeeeee")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def _attention(ax: Axes, table: pd.DataFrame) -> None:
    for i, pair in enumerate(table.columns[1:]):
        ax.plot(
            table["offset"], table[pair], "o-", markersize=3, label=pair, color=OKABE_ITO[i % len(OKABE_ITO)]
        )
    ax.axvline(0, color="#888888", linestyle=":", linewidth=1)
    ax.set(xlabel="turn attended to, counted from the query's own", ylabel="mean attention", ylim=(0, None))
    ax.grid(color="#eeeeee")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
