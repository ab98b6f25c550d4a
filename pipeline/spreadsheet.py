"""Cells of a csv that a spreadsheet would run: they are kept as they are, for programs, and said, for people."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

# `- No.` is how a speaker's turn is often written, and no formula.
_FORMULA = re.compile(r"[=+@\t\r]|-[^\s-]")


def warn(cells: Iterable[object], path: Path) -> None:
    """Print a warning where text among `cells`, written to `path`, begins as a formula does."""
    found = [cell for cell in cells if isinstance(cell, str) and _FORMULA.match(cell)]
    if found:
        print(
            f"warning: {path}: {len(found)} cells begin as a formula does, such as {found[0][:40]!r}: a spreadsheet "
            "would run them; import their columns as text",
            file=sys.stderr,
        )
