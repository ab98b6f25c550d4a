"""The arrays of one `.npz`: a matrix with the ids of its rows, or one array per utterance, named by its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import UserError
from pipeline.features.arrays import Npz
from pipeline.features.entries import Arrays, Loaded, array_key
from pipeline.features.schema import one_line
from pipeline.messages import listed

POOLED = "pooled"


def read(path: Path, array: str, ids: str, named: Callable[[str], str]) -> Arrays:
    """Return the arrays of a `.npz`. It is a matrix if `array` is given, or if it has an array `ids` or `pooled`.

    Args:
        path: the file.
        array: the name of the matrix; empty: `pooled`, or one array per utterance.
        ids: the name of the array with the ids of the matrix's rows.
        named: returns the utterance of an array's name.

    Raises:
        UserError: the file is not a `.npz`, a matrix does not fit its ids, or an utterance occurs twice.
    """
    npz = Npz(path, str(path))
    if array or ids in npz.names or POOLED in npz.names:
        return _Matrix(npz, array or POOLED, ids)
    return _Named(npz, named)


class _Matrix:
    """A matrix [N, P] (or [N, T, D]) and the ids of its rows [N]."""

    def __init__(self, npz: Npz, array: str, name: str) -> None:
        ids, self.values = npz[name], npz[array]
        if (
            ids.dtype.kind not in "US"
            or ids.ndim != 1
            or self.values.ndim < 2
            or len(ids) != len(self.values)
        ):
            raise UserError(
                f"{npz.source}: {name} is {ids.dtype} {ids.shape} and {array} is "
                f"{self.values.dtype} {self.values.shape}: give ids [N] and values [N, P] or [N, T, D]"
            )
        try:
            # Invalid text is an error: replacing its characters could create a different id.
            text = ids.tolist() if ids.dtype.kind == "U" else [i.decode() for i in ids.tolist()]
        except (ValueError, SystemError) as error:  # NumPy raises SystemError for a number beyond Unicode
            raise UserError(
                f"{npz.source}: {name}: contains invalid text: {error}; save the ids as UTF-8"
            ) from None
        self.rows = {utterance: row for row, utterance in enumerate(text)}
        if len(self.rows) < len(text):
            raise UserError(f"{npz.source}: {name}: duplicate ids: {_twice(text)}; keep one row for each")
        self.found = set(self.rows)

    def load(self, utterance: str) -> Loaded:
        row = self.values[self.rows[utterance]]
        return Loaded(array_key(row), row)


class _Named:
    """One array [P] or [T, D] per utterance."""

    def __init__(self, npz: Npz, named: Callable[[str], str]) -> None:
        self.npz = npz
        utterances = [named(name) for name in npz.names]
        self.names = dict(zip(utterances, npz.names, strict=True))
        if len(self.names) < len(utterances):
            raise UserError(
                f"{npz.source}: duplicate arrays: {_twice(utterances)}; keep one for each utterance"
            )
        self.found = set(self.names)

    def load(self, utterance: str) -> Loaded:
        array = self.npz[self.names[utterance]]
        return Loaded(array_key(array), array)


def _twice(names: list[str]) -> str:
    return listed(one_line(name) for name in sorted(n for n, count in Counter(names).items() if count > 1))
