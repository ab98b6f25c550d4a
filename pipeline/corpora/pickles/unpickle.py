"""Read a pickle as data: only numpy arrays, lists, dicts, tuples, sets, str, bytes and numbers.

A pickle is a program. This interpreter omits the opcodes that run code. A global is only a name; our own functions in
`unpickle_known` replace the few permitted ones.

Python's unpickler is unsafe even with `find_class` overridden: it crashes on tuples nested a million deep, grows its
memo to any index, and lets numpy allocate any shape. Here, keys are flat and short, the memo is a dict, and an array is
as large as its bytes. The file's size bounds the bytes copied and, plus 512 MiB, the objects built. Python 2 strings
are decoded as Latin-1, as numpy requires.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.corpora.pickles.unpickle_known import KNOWN, Global, Pending, Refused, array, byte_order, key_of
from pipeline.errors import UserError

# Limit of bytes copied, as a multiple of the file's size; regular files stay below 2.
COPIES = 4
# Limit of bytes for Python's objects: one byte of a pickle can create an empty set of 216 bytes or a memo entry.
OBJECTS = 1 << 29
SET, CONTAINER, VALUE = 256, 128, 64
COSTS = {"EMPTY_SET": SET, "FROZENSET": SET} | dict.fromkeys(
    (
        "EMPTY_LIST", "EMPTY_DICT", "LIST", "DICT", "MARK", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
        "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
    ),
    CONTAINER,
)  # fmt: skip


def load(path: Path) -> Any:
    """Return the value in a pickle file.

    Raises:
        UserError: if the file cannot be read, is not a pickle, or contains anything except plain data.
    """
    try:
        if not path.is_file():  # reading a named pipe could block forever
            raise UserError(f"{path}: no such file; correct the path")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
    try:
        return _Machine(len(data)).run(data)
    except Refused as error:
        raise UserError(f"{path}: refused: {error}; download the file again from its authors") from None
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        AttributeError,
        struct.error,
    ) as error:
        raise UserError(
            f"{path}: not a readable pickle ({type(error).__name__}: {str(error)[:120]}); download it again"
        ) from None


class _Machine:
    """The stack and memo of the pickle interpreter; one method per kind of opcode."""

    def __init__(self, size: int) -> None:
        self.copied = COPIES * size + 65536
        self.objects = COPIES * size + OBJECTS
        self.memo: dict[int, Any] = {}
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            self.objects -= COSTS.get(name, VALUE)
            if self.objects < 0:
                raise Refused("its objects need far more memory than the file's size (a memory bomb)")
            if name == "STOP":
                return self.settled(self.stack.pop())
            if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _VALUES:
                self.stack.append(argument)
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name not in {"PROTO", "FRAME"}:
                raise Refused(f"opcode {name} ({'a persistent id' if 'PERSID' in name else 'an object'})")
        raise ValueError("no STOP")

    def spend(self, size: int) -> None:
        self.copied -= size
        if self.copied < 0:
            raise Refused("its values need far more memory than the file's size (a memory bomb)")

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def put(self, index: int | None) -> None:
        index = len(self.memo) if index is None else index
        self.memo[index] = self.stack[-1]
        if isinstance(self.stack[-1], Pending):
            self.stack[-1].memo.append(index)

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Refused("it appends items to something that is not a list")
        target.extend(map(self.settled, items))

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise Refused("it sets items in something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key_of(key)] = self.settled(value)

    def add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not set:
            raise Refused("it adds items to something that is not a set")
        target.update(map(key_of, items))

    def pack(self, items: list[Any]) -> None:
        # No `settled` here: tuples also carry the arguments of constructors, which may be names.
        self.stack.append(tuple(items))

    def new(self, empty: Any, items: list[Any], fill: Callable[[_Machine, list[Any]], None]) -> None:
        self.stack.append(empty)
        fill(self, items)

    def take(self, count: int) -> list[Any]:
        items = self.stack[len(self.stack) - count :]
        if len(items) < count:
            raise IndexError("stack is empty")
        del self.stack[len(self.stack) - count :]
        return items

    def named(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("it imports a global whose name is not a string")
        full = f"{module}.{name}"
        if full not in KNOWN:
            raise Refused(f"it imports {full[:200]}, which is not plain data")
        self.stack.append(Global(full))

    def instance(self, names: str) -> None:
        raise Refused(f"it creates an instance of {names[:200].replace(' ', '.')}")

    def reduce(self, _: Any) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, Global) or type(arguments) is not tuple:
            raise Refused("it calls an unknown constructor")
        self.stack.append(KNOWN[function.name](self, *arguments))

    def build(self, _: Any) -> None:
        pending, state = self.take(2)
        if not isinstance(pending, Pending):
            raise Refused("it sets the state of something that is not an array")
        value = array(self, state) if pending.dtype is None else byte_order(pending.dtype, state)
        for index in pending.memo:
            self.memo[index] = value
        self.stack.append(value)

    def settled(self, value: Any) -> Any:
        if isinstance(value, Global | Pending):
            raise Refused(
                f"it has {value.name if isinstance(value, Global) else 'an incomplete array'} as a value"
            )
        return value


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": _Machine.mark,
    "POP": lambda m, _: m.stack.pop() if m.stack else m.to_mark(),
    "POP_MARK": lambda m, _: m.to_mark(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "APPEND": lambda m, _: m.append(m.take(1)),
    "APPENDS": lambda m, _: m.append(m.to_mark()),
    "SETITEM": lambda m, _: m.update(m.take(2)),
    "SETITEMS": lambda m, _: m.update(m.to_mark()),
    "ADDITEMS": lambda m, _: m.add(m.to_mark()),
    "LIST": lambda m, _: m.new([], m.to_mark(), _Machine.append),
    "DICT": lambda m, _: m.new({}, m.to_mark(), _Machine.update),
    "FROZENSET": lambda m, _: m.new(set(), m.to_mark(), _Machine.add),
    "TUPLE": lambda m, _: m.pack(m.to_mark()),
    "TUPLE1": lambda m, _: m.pack(m.take(1)),
    "TUPLE2": lambda m, _: m.pack(m.take(2)),
    "TUPLE3": lambda m, _: m.pack(m.take(3)),
    "GLOBAL": lambda m, names: m.named(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.named(*m.take(2)),
    "INST": _Machine.instance,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
