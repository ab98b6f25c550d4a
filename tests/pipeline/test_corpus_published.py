"""Published feature pickles: converted into tables and caches; hostile ones are refused before anything runs."""

from __future__ import annotations

import collections
import functools
import importlib
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.corpora.pickles import __main__ as published
from pipeline.corpora.pickles import layouts, unpickle
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.tables.schema import read_labels, read_utterances

ROOT = Path(__file__).parents[2]
TURNS = {"Ses05F_impro02": 2, "Ses01M_impro01": 3, "Ses02F_script01_1": 1, "Ses03M_impro01": 2}
TRAIN = ["Ses01M_impro01", "Ses02F_script01_1", "Ses03M_impro01"]


def vectors(size: int, turns=TURNS, kind=np.float32) -> dict:
    draw = np.random.default_rng(size)
    return {d: [draw.normal(size=size).astype(kind) for _ in range(n)] for d, n in turns.items()}


def dialogue_rnn(turns=TURNS, train=TRAIN, speaker="MF", classes=6) -> dict:
    """The entries of DialogueRNN's IEMOCAP tuple, in order."""
    return {
        "ids": {d: [f"{d}_{speaker[i % 2]}{i:03}" for i in range(n)] for d, n in turns.items()},
        "speakers": {d: [speaker[i % 2] for i in range(n)] for d, n in turns.items()},
        "labels": {d: [(i + len(d)) % classes for i in range(n)] for d, n in turns.items()},
        "text": vectors(4, turns),
        "audio": vectors(3, turns, np.float64),
        "visual": vectors(5, turns),
        "sentences": {d: ["It\x92s me."] * n for d, n in turns.items()},
        "train": set(train),
        "test": [d for d in turns if d not in train],
    }


def save(path: Path, value: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def as_python_2(data: bytes) -> bytes:
    """A protocol 0 pickle as Python 2 and an old numpy wrote it: native strings, old module names."""
    assert b"numpy._core" in data
    return data.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray").replace(
        b"c__builtin__", b"c__builtin__"
    )


def message(data: bytes, tmp_path: Path) -> str:
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        unpickle.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_dialogue_rnn_becomes_tables_and_caches(tmp_path):
    entries = dialogue_rnn()
    entries["visual"]["Ses01M_impro01"][1][:] = 0
    entries["audio"]["Ses05F_impro02"][0][:] = np.nan
    source = save(tmp_path / "IEMOCAP_features.pkl", tuple(entries.values()))
    summary = published.convert([source], tmp_path / "data")
    utterances = read_utterances(tmp_path / "data/utterances.csv")
    labels = read_labels(utterances, published.EMOTIONS["iemocap"], tmp_path / "data/labels.csv")
    assert [u.dialogue for u in utterances] == [d for d in sorted(TURNS) for _ in range(TURNS[d])]
    assert utterances[0].utterance == "Ses01M_impro01_M000"
    assert utterances[0].text == "It’s me."
    assert (utterances[1].speaker, utterances[1].session) == ("Ses01F", "1")
    assert labels["emotion"][0] == published.EMOTIONS["iemocap"][entries["labels"]["Ses01M_impro01"][0]]
    assert labels["split"].tolist() == ["train"] * 6 + ["test"] * 2
    for name, modality in (("text", "text"), ("audio", "audio"), ("visual", "visual")):
        with FeatureCache(tmp_path / f"data/features/{name}.h5") as cache:
            cache.verify()
            assert cache.meta.modality == modality
            assert cache.utterances == [u.utterance for u in utterances]
            expected = np.array([v for d in sorted(TURNS) for v in entries[name][d]], dtype=np.float32)
            kept = np.array(cache.status) == 0
            np.testing.assert_array_equal(cache.pooled()[kept], expected[kept])
            lost = {"text": {}, "audio": {"corrupt": 1}, "visual": {"no_face": 1}}[name]
            assert {k: v for k, v in cache.counts().items() if k != "ok"} == lost
    assert "visual, 5 numbers each; 1 without" in summary


def test_multiemo_as_python_2_wrote_it(tmp_path):
    entries = dialogue_rnn()
    streams = {name: entries[name] for name in ("text", "audio", "visual")}
    entries |= dict.fromkeys(["ids", *streams, "sentences"])
    (tmp_path / "Speakers.pkl").write_bytes(pickle.dumps(tuple(entries.values()), 0))
    for name, value in streams.items():
        (tmp_path / f"{name.title()}Features.pkl").write_bytes(as_python_2(pickle.dumps(value, 0)))
    files = sorted(tmp_path.glob("*.pkl"))
    published.convert(files, tmp_path / "data")
    assert len(read_utterances(tmp_path / "data/utterances.csv")) == 8
    with FeatureCache(tmp_path / "data/features/audio.h5") as cache:
        assert cache.pooled().shape == (8, 3)
        assert cache.meta.encoder["file"] == "AudioFeatures.pkl"


def test_mmgcn_meld(tmp_path):
    turns, train = {0: 2, 1: 1, 2: 3}, [0, 1]
    entries = dialogue_rnn({str(d): n for d, n in turns.items()}, [], classes=7)
    entries = {k: {int(d): v for d, v in x.items()} if isinstance(x, dict) else x for k, x in entries.items()}
    entries["speakers"] = {d: [np.eye(9)[i].tolist() for i in range(n)] for d, n in turns.items()}
    ids, speakers, labels, text, audio, visual, sentences, _, _ = entries.values()
    value = (ids, speakers, labels, text, text, text, text, audio, visual, sentences, train, [2], None)
    published.convert([save(tmp_path / "MELD_features_raw1.pkl", value)], tmp_path / "data")
    utterances = read_utterances(tmp_path / "data/utterances.csv")
    assert [(u.dialogue, u.speaker) for u in utterances][:2] == [
        ("dia0000", "dia0000P0"),
        ("dia0000", "dia0000P1"),
    ]
    assert sorted(p.stem for p in (tmp_path / "data/features").iterdir()) == [
        "audio", "text", "text2", "text3", "text4", "visual",
    ]  # fmt: skip


def test_meld_of_dialogue_rnn_has_no_pictures(tmp_path):
    e = dialogue_rnn()
    value = tuple(
        e[k] for k in ("ids", "speakers", "labels", "text", "audio", "sentences", "train", "test", "labels")
    )
    found = layouts.read([save(tmp_path / "x.pkl", value)])
    assert [stream.name for stream in found.streams] == ["text", "audio"]


def test_the_published_split():
    golden = np.load(ROOT / "tests/golden/split_seed2023.npz")
    for name, ids in (("iemocap", [f"Ses{i:03}" for i in range(120)]), ("meld", list(range(1152)))):
        split = layouts._split(
            {"train": ids[::-1] if name == "iemocap" else ids, "test": []}, {i: i for i in ids}
        )
        val = [i for i, key in enumerate(ids) if split[key] == "val"]
        assert val == sorted(golden[f"{name}_valid"].tolist())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"labels": {**dialogue_rnn()["labels"], "Ses01M_impro01": [0, 9, 0]}},
            "has label 9; name all labels with",
        ),
        (
            {"labels": {**dialogue_rnn()["labels"], "Ses01M_impro01": [0, "x", 0]}},
            "a label is not a whole number",
        ),
        ({"text": {**dialogue_rnn()["text"], "Ses01M_impro01": [np.zeros(4)]}}, "1 vectors for 3 labels"),
        (
            {"text": {**dialogue_rnn()["text"], "Ses01M_impro01": [np.zeros(9)] * 3}},
            "others (9,)",
        ),
        (
            {"text": {k: v for k, v in dialogue_rnn()["text"].items() if "Ses01" not in k}},
            "Ses01M_impro01: missing",
        ),
        (
            {"speakers": {**dialogue_rnn()["speakers"], "Ses01M_impro01": "M"}},
            "labels and speakers must be lists",
        ),
        ({"train": {"nobody"}}, "unknown layout (a tuple of 9 entries)"),
        ({"test": ["Ses01M_impro01"]}, "dialogue Ses01M_impro01 occurs twice in the splits"),
        ({"labels": 5}, "unknown layout"),
    ],
)
def test_entries_that_do_not_fit(tmp_path, change, expected):
    source = save(tmp_path / "x.pkl", tuple({**dialogue_rnn(), **change}.values()))
    with pytest.raises(UserError) as caught:
        published.convert([source], tmp_path / "data")
    assert expected in str(caught.value)
    assert str(source) in str(caught.value)


def test_the_command(tmp_path):
    source = save(tmp_path / "x.pkl", tuple(dialogue_rnn().values()))
    command = [sys.executable, "-m", "pipeline.corpora.pickles", source, "--to", tmp_path / "data"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:12]) == (0, "8 utterances"), done.stderr
    source.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {source}: refused: it imports os.system")


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
