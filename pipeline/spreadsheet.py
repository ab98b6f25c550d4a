"""Warn about csv cells that a spreadsheet would run as formulas; the cells themselves are unchanged."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

# `- No.` is a common form of a speaker's turn and not a formula.
_FORMULA = re.compile(r"[=+@\t\r]|-[^\s-]")


def warn(cells: Iterable[object], path: Path) -> None:
    """Print a warning if text among `cells`, written to `path`, begins like a formula."""
    found = [cell for cell in cells if isinstance(cell, str) and _FORMULA.match(cell)]
    if found:
        print(
            f"warning: {path}: {len(found)} cells begin like a formula, such as {found[0][:40]!r}; a spreadsheet would "
            "run them, so import their columns as text",
            file=sys.stderr,
        )
