"""One colour per emotion, the same in every plot and on the page."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito's set: told apart with every common kind of colour blindness, and on white as on near-black.
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a900")
GREY = "#8c8c8c"


def colours(names: Sequence[str]) -> list[str]:
    """A hex colour per label name, in order: grey for neutral, the others in turn.

    Beyond seven they repeat, so a label's name always stands beside its colour.
    """
    others = [name for name in names if name.lower() != "neutral"]
    turn = {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(others)}
    return [turn.get(name, GREY) for name in names]
