"""Draw probabilities as bars of CSS."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np

TOP = 20  # labels whose probabilities a turn shows


def top(probabilities: np.ndarray) -> list[int]:
    """Return the TOP most probable labels of `[C]` probabilities, in label order."""
    return sorted(np.argsort(-probabilities, kind="stable")[:TOP].tolist())


def bar(probabilities: np.ndarray) -> str:
    """Return a CSS gradient with one solid segment per `top` label of `[C]` probabilities; the rest is transparent."""
    kept = top(probabilities)
    edges = [0.0, *accumulate(float(probabilities[i]) * 100 for i in kept)]
    parts = zip(kept, pairwise(edges), strict=True)
    stops = [f"var(--e{i}) {a:.1f}% {b:.1f}%" for i, (a, b) in parts if b - a >= 0.05]
    if edges[-1] < 99.95:
        stops.append(f"transparent {edges[-1]:.1f}% 100%")
    return f"linear-gradient(90deg,{','.join(stops)})"


def gauges(probabilities: np.ndarray) -> str:
    """Return a CSS gradient with a cell of equal width per `top` label of `[C]`, filled by its own probability."""
    kept = top(probabilities)
    width = 100 / len(kept)
    stops = []
    for place, i in enumerate(kept):
        left = place * width
        filled = left + width * float(probabilities[i])
        stops += [f"var(--e{i}) {left:.1f}% {filled:.1f}%", f"var(--line) {filled:.1f}% {left + width:.1f}%"]
    return f"linear-gradient(90deg,{','.join(stops)})"
