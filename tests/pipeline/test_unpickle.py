"""The pickle reader reads plain data and torch files, and refuses all else in little memory."""

from __future__ import annotations

import collections
import functools
import importlib
import os
import pickle
import struct
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.corpora.pickles import __main__ as published
from pipeline.corpora.pickles import layouts, unpickle
from pipeline.errors import UserError
from tests.pipeline.published import dialogue_rnn, message, save

DATA: tuple[Any, ...] = (
    None, True, -3, 2**70, 2.5, "é☃", b"xyz", {1, "x"}, frozenset({2}), [], {}, (), (1,), (1, 2), (1, 2, 3),
    (1, 2, 3, 4), np.arange(6).reshape(2, 3), np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4))),
    np.zeros((0, 3)), np.array([True]), np.array(["ab", "c"]), np.array([b"ab"]),
    np.array([[1], {"a": 2}], dtype=object), np.array(3.0), np.float32(1.5), np.int64(7), np.bool_(True),
    np.arange(3, dtype=">i4"),
)  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_what_pickle_reads(tmp_path, protocol):
    data = pickle.dumps(DATA, protocol)
    ours, theirs = unpickle.load(save(tmp_path / "x.pkl", DATA, protocol)), pickle.loads(data)
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, np.ndarray):
            assert (a.dtype, a.shape, a.tolist()) == (b.dtype.newbyteorder("="), b.shape, b.tolist())
        else:
            assert a == b
            assert type(a) is type(b) or isinstance(b, frozenset)


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_what_would_run_is_refused_by_name_and_does_not_run(tmp_path):
    canary = tmp_path / "canary"
    attacks = {
        "posix.system": Calls(os.system, f"touch {canary}"),
        "subprocess.Popen": Calls(subprocess.Popen, f"touch {canary}"),
        "builtins.eval": Calls(eval, f"open({str(canary)!r}, 'w')"),
        "builtins.exec": Calls(exec, f"open({str(canary)!r}, 'w')"),
        "builtins.getattr": Calls(getattr, "x", "system"),
        "importlib.import_module": Calls(importlib.import_module, "antigravity"),
        "io.open": Calls(open, str(canary), "w"),
        "numpy.load": Calls(np.load, str(canary), None, True),
        "pathlib.PosixPath": Path("/etc/passwd"),
        "functools.partial": functools.partial(print),
        "collections.OrderedDict": collections.OrderedDict(a=1),
        "torch._utils._rebuild_tensor_v2": torch.zeros(3),
    }
    for name, attack in attacks.items():
        for protocol in (0, 2, 4, 5):
            # Behind harmless data: nothing before it may matter.
            data = pickle.dumps([np.zeros(3), attack], protocol)
            told = message(data, tmp_path)
            assert "refused: it imports " in told
            last = name.rpartition(".")[2]
            assert last in told or "copyreg" in told or "copy_reg" in told or "__builtin__" in told, told
    assert not canary.exists()


def test_old_spellings_of_an_attack(tmp_path):
    assert "refused: it imports os.system" in message(b"cos\nsystem\n(S'true'\ntR.", tmp_path)
    assert "an instance of os.system" in message(b"(S'true'\nios\nsystem\n.", tmp_path)
    assert "refused: it imports os.system" in message(b"(cos\nsystem\nS'true'\no.", tmp_path)
    assert "refused: opcode NEWOBJ" in message(b"\x80\x02cnumpy\nndarray\n)\x81.", tmp_path)
    assert "refused: opcode EXT1" in message(b"\x80\x02\x82\x01.", tmp_path)
    assert "refused: opcode BINPERSID (a persistent id)" in message(b"\x80\x02K\x01Q.", tmp_path)
    assert "it calls numpy.ndarray itself" in message(b"cnumpy\nndarray\n(I1\ntR.", tmp_path)
    # The name is put together on the stack, from the memo.
    assembled = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x04true\x85R."
    assert "refused: it imports os.system" in message(assembled, tmp_path)
    assert "whose name is not a string" in message(b"\x80\x04]\x8c\x06system\x93.", tmp_path)


@pytest.mark.parametrize("new", [True, False])
def test_torch_files(tmp_path, new):
    path = tmp_path / "x.pkl"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(UserError, match=r"x.pkl: (refused|unknown layout|not a readable)"):
        layouts.read([path])


def array(shape: bytes, data: bytes, dtype: bytes = b"f8") -> bytes:
    """A protocol 0 pickle of an array with any shape and data."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n" + shape
        + b"cnumpy\ndtype\n(S'" + dtype + b"'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n" + data + b"tb."
    )  # fmt: skip


def test_bombs_are_refused_in_little_memory(tmp_path):
    deep = 20_000
    bombs = {
        "a shape without data": array(b"(L1000000000000L\nt", b"S''\n"),
        "a negative shape": array(b"(I-1\nt", b"S'12345678'\n"),
        "many dimensions": array(b"(" + b"I1\n" * 64 + b"t", b"S'12345678'\n"),
        "an endless type": array(b"(I1\nt", b"S''\n", b"S99999999999"),
        "a structured type": array(b"(I1\nt", b"S''\n", b"f8,f8"),
        "objects by pointer": array(b"(I1\nt", b"S'12345678'\n", b"O8"),
        "lists in lists": b"]" * deep + b"a" * (deep - 1) + b".",
        "tuples in tuples, hashed": b"}" + b")" + b"\x85" * deep + b"I1\ns.",
        "tuples in a set": b"\x80\x04\x8f(" + b")" + b"\x85" * deep + b"\x90.",
        "a huge memo": b"\x80\x02]r\xff\xff\xff\xff.",
        "a string longer than the file": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
        "bytes longer than the file": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"x.",
        "a frame longer than the file": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
        "a string encoded again and again": b"\x80\x04X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"\x940]("
        + b"c_codecs\nencode\nh\x00\x85R" * 1000 + b"e.",
        "a list made a set again and again": b"](" + b"I1\n" * 50_000 + b"ep0\n0]("
        + b"c__builtin__\nset\n(g0\ntR" * 5000 + b"e.",
        "a number of a million bytes as a key, again and again": b"\x80\x02\x8b" + struct.pack("<i", 1_000_000)
        + b"\x7f" * 1_000_000 + b"q\x00}(" + b"h\x00N" * 100_000 + b"u.",
        "a tuple of a hundred thousand as a key, again and again": b"\x80\x02(" + b"K\x01" * 100_000
        + b"tq\x00}(" + b"h\x00N" * 100_000 + b"u.",
        "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "no end": b"\x80\x02]",
        "nothing": b"",
        "a list appended to a name": b"cnumpy\ndtype\n(I1\ne.",
        "half an array": b"(lp0\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRa.",
        "too much from the stack": b"\x80\x02\x87.",
    }  # fmt: skip
    for name, bomb in bombs.items():
        path = tmp_path / "x.pkl"
        path.write_bytes(bomb)
        tracemalloc.start()
        try:
            with pytest.raises(UserError):
                layouts.read([path])
            assert tracemalloc.get_traced_memory()[1] < 60_000_000, name
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("opcode", [b"\x8f", b"}", b"(", b"\x94", b"\x85"], ids=repr)
def test_a_byte_that_asks_for_many_is_paid_for(tmp_path, monkeypatch, opcode):
    """A set takes 216 bytes of memory and one of a file: the budget is counted, whatever is asked for."""
    monkeypatch.setattr(unpickle, "OBJECTS", 1 << 20)
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04)" + opcode * 200_000 + b".")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="its objects need far more memory than the file"):
            unpickle.load(path)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


def test_flipped_bytes_never_surprise(tmp_path):
    data = pickle.dumps(tuple(dialogue_rnn().values()), 2)
    draw = np.random.default_rng(0)
    path = tmp_path / "x.pkl"
    outcomes = set()
    for _ in range(300):
        changed = bytearray(data)
        for at in draw.integers(len(data), size=draw.integers(1, 4)):
            changed[at] = draw.integers(256)
        path.write_bytes(changed)
        try:
            published.convert([path], tmp_path / "data")
            outcomes.add("converted")
        except UserError:
            outcomes.add("refused")
    assert outcomes == {"converted", "refused"}
