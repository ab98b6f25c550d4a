"""The globals that a pickle of plain data may use, and the functions that replace them.

Each function receives the machine, for its memory limits, and the pickle's arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

MAX_DIMS = 8
MAX_KEY, MAX_SCALAR = 8, 1024  # parts of a key, bytes of a numpy scalar in a key
_DTYPE = re.compile(r"[<>=|]?(f[248]|i[1248]|u[1248]|b1|[SU]\d{1,6}|O8?)")


class Refused(Exception):
    """The pickle contains something that is not plain data."""


@dataclass(frozen=True)
class Global:
    """The name of a global; it is never imported."""

    name: str


@dataclass(eq=False)
class Pending:
    """An array or dtype whose state is not set yet, and the memo entries that refer to it."""

    dtype: np.dtype | None = None
    memo: list[int] = field(default_factory=list)


class Machine(Protocol):
    """The part of the pickle interpreter that the constructors use."""

    def spend(self, size: int) -> None:
        """Count copied bytes.

        Raises:
            Refused: if they exceed the limit.
        """

    def settled(self, value: Any) -> Any:
        """Return `value`.

        Raises:
            Refused: if it is a name or an incomplete array.
        """


def key_of(value: Any) -> Any:
    """Return `value` if it may be a key of a dict or an element of a set.

    Raises:
        Refused: if it is not a string, a number or a short flat tuple of them.
    """
    flat = value if type(value) is tuple else (value,)
    if len(flat) > MAX_KEY or not all(map(_hashed_at_once, flat)):
        raise Refused("a key or a set's element is not a string or number, or is too long")
    return value


def _hashed_at_once(part: Any) -> bool:
    # Python caches the hash of a string, but recomputes that of a number at every use as a key.
    if isinstance(part, int):
        return part.bit_length() <= 64
    return isinstance(part, str | bytes | float | None) or (
        isinstance(part, np.generic) and part.nbytes <= MAX_SCALAR
    )


def _bytes(machine: Machine, value: Any) -> bytes:
    data = value.encode("latin-1") if isinstance(value, str) else value
    if not isinstance(data, bytes | bytearray):
        raise Refused("an array's data are not bytes")
    machine.spend(len(data))
    return bytes(data)


def _dtype(machine: Machine, spec: Any, *_: Any) -> Pending:
    if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
        raise Refused(f"an array of type {spec[:40] if isinstance(spec, str) else type(spec).__name__}")
    return Pending(np.dtype(spec))


def byte_order(dtype: np.dtype, state: Any) -> np.dtype:
    """Return `dtype` with the byte order of a pickled state.

    Raises:
        Refused: if the state is not that of a plain dtype.
    """
    if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
        raise Refused("an array type with fields or an unknown byte order")
    return dtype.newbyteorder(state[1])


def array(machine: Machine, state: Any) -> np.ndarray:
    """Build an array from its pickled state.

    Raises:
        Refused: if the state is invalid or exceeds the machine's limits.
    """
    if type(state) is not tuple or len(state) not in (4, 5):
        raise Refused("an array whose state is invalid")
    shape, dtype, fortran, data = state[-4:]
    return _shaped(machine, data, dtype, shape, "F" if fortran else "C")


def _shaped(machine: Machine, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    dtype = dtype.dtype if isinstance(dtype, Pending) else dtype
    if not isinstance(dtype, np.dtype) or type(shape) is not tuple or len(shape) > MAX_DIMS:
        raise Refused("an array with an unknown type or shape")
    if not all(type(edge) is int and edge >= 0 for edge in shape) or order not in ("C", "F"):
        raise Refused("an array with an impossible shape")
    size = math.prod(shape)
    if dtype.hasobject:
        if type(data) is not list or len(data) != size:
            raise Refused("an array of objects whose shape and items differ")
        machine.spend(8 * size)
        array = np.empty(size, dtype=object)
        for index, item in enumerate(data):
            array[index] = machine.settled(item)
        return array.reshape(shape, order=order)
    raw = _bytes(machine, data)
    if size * dtype.itemsize != len(raw):
        raise Refused(f"an array of shape {str(shape)[:60]} whose data have {len(raw):,} bytes")
    flat = np.frombuffer(raw, dtype) if raw else np.empty(0, dtype)
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order=order)


def _scalar(machine: Machine, dtype: Any, data: Any = b"") -> Any:
    return _shaped(machine, data, dtype, (), "C")[()]


def _reconstruct(machine: Machine, kind: Any, *_: Any) -> Pending:
    if kind != Global("numpy.ndarray"):
        raise Refused("an array of an unknown class")
    return Pending()


def _set(machine: Machine, items: Any = ()) -> set[Any]:
    if type(items) not in (list, tuple):
        raise Refused("a set whose items are not a list")
    machine.spend(8 * len(items))
    return {key_of(item) for item in items}


def _encode(machine: Machine, text: Any, encoding: Any = "latin-1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise Refused("bytes in an encoding other than Latin-1")
    return _bytes(machine, text)


def _no_call(machine: Machine, *_: Any) -> Any:
    raise Refused("it calls numpy.ndarray itself")


KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _no_call,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
}
for _module in ("builtins", "__builtin__"):
    KNOWN[f"{_module}.set"] = KNOWN[f"{_module}.frozenset"] = _set
    KNOWN[f"{_module}.bytes"] = KNOWN[f"{_module}.bytearray"] = lambda machine, data=b"", _="": _bytes(
        machine, data
    )
for _module in ("numpy.core", "numpy._core"):
    KNOWN[f"{_module}.multiarray._reconstruct"] = _reconstruct
    KNOWN[f"{_module}.multiarray.scalar"] = _scalar
    KNOWN[f"{_module}.numeric._frombuffer"] = _shaped
