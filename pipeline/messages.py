"""What is wrong in a user's files, said in one message; and the known name that a misspelt one is nearest to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pipeline.errors import UserError

LISTED = 20
SHOWN = 60


class Problems:
    """Bad values of one file or of several, gathered so that one message names them.

    Args:
        where: what the message begins with.
    """

    def __init__(self, where: str = "raw files") -> None:
        self.where, self.count = where, 0
        self.listed: list[str] = []

    def add(self, place: str, field: str, value: str, why: str) -> None:
        """Note a bad value: `place` is a line or a file with its line, empty where there is none."""
        self.count += 1
        if len(self.listed) < LISTED:
            shown = value if len(value) <= SHOWN else value[: SHOWN - 3] + "…"
            self.listed.append(f"{place}{': ' if place else ''}{field}={shown!r}: {why}")

    def stop(self) -> None:
        """End here if there was a bad value.

        Raises:
            UserError: with the first bad values, one a line, and how many there are.
        """
        if self.count:
            more = self.count - len(self.listed)
            lines = [*self.listed, *[f"and {more} more"] * (more > 0)]
            raise UserError(f"{self.where}: {self.count} bad values\n  " + "\n  ".join(lines))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` for the known name that is like `name`; empty where none is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""
