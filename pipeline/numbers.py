"""Numbers as people write them in a table. Python's own `int` and `float` also read `0_4`, `٤` and `nan`."""

from __future__ import annotations

import re

_WHOLE = re.compile("[0-9]{1,15}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


def whole(text: str) -> int:
    """Return the whole number from 0 up that `text` spells in the digits 0 to 9.

    Raises:
        ValueError: it spells none.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def decimal(text: str) -> float:
    """Return the number that `text` spells in the digits 0 to 9, with a decimal point or an exponent.

    Raises:
        ValueError: it spells none.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    return float(text)
