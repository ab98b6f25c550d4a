"""Colours of the labels, the same in every plot and on every page."""

from __future__ import annotations

from collections.abc import Sequence

# The palette of Okabe and Ito: distinguishable with common colour blindness, on light and on dark backgrounds.
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a900")
GREY = "#8c8c8c"


def colours(names: Sequence[str]) -> list[str]:
    """Return one hex colour per label name: grey for neutral, the palette in order for the others.

    After seven labels the colours repeat, so plots and pages always print the name beside the colour.
    """
    others = [name for name in names if name.lower() != "neutral"]
    turn = {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(others)}
    return [turn.get(name, GREY) for name in names]
