"""Collect the errors in a user's files into one message, list names, and suggest the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pipeline.errors import UserError

LISTED = 20
SHOWN = 60


class Problems:
    """Invalid values of one or more files, collected into one message.

    Args:
        where: the beginning of the message.
    """

    def __init__(self, where: str = "raw files") -> None:
        self.where, self.count = where, 0
        self.listed: list[str] = []

    def add(self, place: str, field: str, value: str, why: str) -> None:
        """Add an invalid value.

        Args:
            place: the line, or the file and line; empty if there is none.
            field: the column or key.
            value: the value.
            why: what is wrong with it.
        """
        self.count += 1
        if len(self.listed) < LISTED:
            shown = value if len(value) <= SHOWN else value[: SHOWN - 3] + "…"
            self.listed.append(f"{place}{': ' if place else ''}{field}={shown!r}: {why}")

    def stop(self) -> None:
        """Raise if any value was added.

        Raises:
            UserError: with the first values, one per line, and their number.
        """
        if self.count:
            lines = _with_rest(self.listed, self.count, "\n  ")
            raise UserError(f"{self.where}: {self.count} invalid values; correct them:\n  {lines}")


def listed(names: Iterable[str], between: str = ", ") -> str:
    """Return the first `LISTED` names and how many more there are; empty if there is no name.

    Args:
        names: any number of names, in the order of the message.
        between: what separates them.
    """
    found = list(names)
    return _with_rest(found[:LISTED], len(found), between)


def _with_rest(shown: Sequence[str], count: int, between: str) -> str:
    more = count - len(shown)
    return between.join([*shown, *[f"and {more} more"] * (more > 0)])


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the known name most similar to `name`; empty if none is similar."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""
