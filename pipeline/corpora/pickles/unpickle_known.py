"""The names that a pickle of plain data may use, and what answers them in place of the real ones.

Each function gets the machine (for its budget) and the arguments that the pickle gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

MAX_DIMS = 8
MAX_KEY, MAX_SCALAR = 8, 1024  # parts of a key, bytes of a scalar in it
_DTYPE = re.compile(r"[<>=|]?(f[248]|i[1248]|u[1248]|b1|[SU]\d{1,6}|O8?)")


class Refused(Exception):
    """The pickle asks for something that plain data does not need."""


@dataclass(frozen=True)
class Global:
    """A name that the pickle wants imported; nothing is."""

    name: str


@dataclass(eq=False)
class Pending:
    """An array or dtype between its creation and its state, and the memo entries that stand for it."""

    dtype: np.dtype | None = None
    memo: list[int] = field(default_factory=list)


class Machine(Protocol):
    """What the constructors need of the pickle machine."""

    def spend(self, size: int) -> None:
        """Count bytes that are copied; raises `Refused` when they exceed the budget."""

    def settled(self, value: Any) -> Any:
        """`value`, unless it is a name or half an array: raises `Refused`."""


def key_of(value: Any) -> Any:
    flat = value if type(value) is tuple else (value,)
    if len(flat) > MAX_KEY or not all(map(_hashed_at_once, flat)):
        raise Refused("a key or a set's element that is no string or number, or a very long one")
    return value


def _hashed_at_once(part: Any) -> bool:
    # Python keeps the hash of a string, but works that of a number out again wherever it is a key.
    if isinstance(part, int):
        return part.bit_length() <= 64
    return isinstance(part, str | bytes | float | None) or (
        isinstance(part, np.generic) and part.nbytes <= MAX_SCALAR
    )


def _bytes(machine: Machine, value: Any) -> bytes:
    data = value.encode("latin-1") if isinstance(value, str) else value
    if not isinstance(data, bytes | bytearray):
        raise Refused("an array's data is no bytes")
    machine.spend(len(data))
    return bytes(data)


def _dtype(machine: Machine, spec: Any, *_: Any) -> Pending:
    if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
        raise Refused(f"an array of type {spec[:40] if isinstance(spec, str) else type(spec).__name__}")
    return Pending(np.dtype(spec))


def byte_order(dtype: np.dtype, state: Any) -> np.dtype:
    if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
        raise Refused("an array type with fields or an unknown byte order")
    return dtype.newbyteorder(state[1])


def array(machine: Machine, state: Any) -> np.ndarray:
    if type(state) is not tuple or len(state) not in (4, 5):
        raise Refused("an array whose state is no array's")
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
        raise Refused(f"an array of shape {str(shape)[:60]} whose data are {len(raw):,} bytes")
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
        raise Refused("a set of something that is no list")
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
