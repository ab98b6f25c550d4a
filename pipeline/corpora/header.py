"""Read the header of a csv file: its columns in any case, and columns that look misspelt."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pipeline.errors import UserError

ALIKE = 0.82  # similarity of two columns' names above which one is taken for a misspelling of the other


def read_header(names: list[str], needed: Sequence[str], optional: Sequence[str], place: str) -> list[str]:
    """Return the names of the columns, without empty ones at the right.

    Args:
        names: the values of the first row.
        needed: the columns that must be there.
        optional: other known columns.
        place: `FILE:LINE`, for messages.

    Raises:
        UserError: if a needed column is missing, a known one is duplicated, or an unknown one resembles an optional
            column that is missing.
    """
    known = (*needed, *optional)
    spelt = {name.casefold(): name for name in known}
    header = [spelt.get(name.strip().casefold(), name.strip()) for name in names]
    while header and not header[-1]:
        header.pop()
    if missing := [name for name in needed if name not in header]:
        raise UserError(
            f"{place}: missing column {', '.join(missing)}; found {', '.join(header)[:200] or 'none'}; add it"
        )
    absent = [name for name in optional if name not in header]
    for name in header:
        if name not in known and (close := get_close_matches(name.casefold(), absent, n=1, cutoff=ALIKE)):
            raise UserError(
                f"{place}: the column `{name[:60]}` is unknown and resembles `{close[0]}`, which is missing; correct "
                "its name, or give a column of your own another name"
            )
    if twice := [name for name in known if header.count(name) > 1]:
        raise UserError(f"{place}: duplicate column {', '.join(twice)}; remove one")
    return header
