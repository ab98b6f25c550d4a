"""200 generated mutations of every raw layout: handled, or an error that names file and place."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.names import is_inside
from pipeline.prepare import prepare
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import target_of
from tests.pipeline import corpus_trees, raw_folders

LAYOUTS = {
    "meld": raw_folders.meld,
    "iemocap": raw_folders.iemocap,
    "scp": raw_folders.scp,
    "csv": raw_folders.csv,
    "subtitles": raw_folders.subtitles,
    "emorynlp": corpus_trees.emorynlp,
    "dailydialog": corpus_trees.dailydialog,
    "dailydialog json": corpus_trees.dailydialog_json,
    "mer": corpus_trees.mer,
    "emobox": corpus_trees.emobox,
    "cremad": corpus_trees.cremad,
    "m3ed": corpus_trees.m3ed,
    "mmsa": corpus_trees.mmsa,
    "mmsa_pickle": corpus_trees.mmsa_pickle,
    "mosei": corpus_trees.mosei,
}
COUNT = 200
SECRET = "secret.txt"
NASTY = (
    "../../secret.txt", "../secret.txt", "/etc/passwd", "C:\\secret.txt", "\0", "\x1b[2J", "\x85", "\u2028", "-1",
    "-0.5", "nan", "inf", "1e400", "9" * 5000, "0x10", "٣", "", " ", '"', '""', ",", ",,,", "\t", "\n", "\r", "'",
    "=cmd()", "é", "\x92", "a" * 3000, "[1 - 2]", "-->", "00:99:99,999 --> 00:00:00,000", "[[[[", "]]]]", "%s%n{}",
)  # fmt: skip
opened: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _watch_opened_files():
    # An audit hook cannot be taken back, so it is told when to stop listening.
    listening = [True]
    sys.addaudithook(
        lambda event, args: opened.append(str(args[0])) if event == "open" and listening[0] else None
    )
    yield
    listening[0] = False


def _lines(change: Callable[[list[bytes], random.Random], list[bytes]]):
    def mutate(data: bytes, chance: random.Random) -> bytes:
        lines = data.splitlines(keepends=True)
        return b"".join(change(lines, chance)) if lines else data

    return mutate


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(NASTY).encode() + data[at:]


def _replace_word(data: bytes, chance: random.Random) -> bytes:
    words = list(re.finditer(rb"[\w.:-]+", data))
    if not words:
        return data
    word = chance.choice(words)
    return data[: word.start()] + chance.choice(NASTY).encode() + data[word.end() :]


def _drop_column(data: bytes, chance: random.Random) -> bytes:
    mark = chance.choice([b",", b"\t", b" "])
    column = chance.randrange(12)
    return b"\n".join(
        mark.join(cell for i, cell in enumerate(line.split(mark)) if i != column)
        for line in data.split(b"\n")
    )


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(min(len(data), chance.randrange(1, 4))):
        changed[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(changed)


def _reverse_times(data: bytes, chance: random.Random) -> bytes:
    swap = chance.choice([rb"([\d.]+)( - )([\d.]+)", rb"([\d:,]+)( --> )([\d:,]+)", rb"([\d.]+)(,)([\d.]+)"])
    return re.sub(swap, rb"\3\2\1", data, count=chance.randrange(3))


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": lambda data, _: b"",
    "header only": lambda data, _: data.split(b"\n")[0] + b"\n",
    "byte order mark": lambda data, _: b"\xef\xbb\xbf" + data,
    "crlf": lambda data, _: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "cr": lambda data, _: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "utf-16": lambda data, _: data.decode(errors="replace").encode("utf-16"),
    "utf-16 without mark": lambda data, _: data.decode(errors="replace").encode("utf-16-le"),
    "latin-1": lambda data, _: (
        data.decode(errors="replace").replace("’", "é").encode("latin-1", "replace") + b"\xe9\n"
    ),
    "truncated": lambda data, chance: data[: chance.randrange(len(data) + 1)],
    "insert": _insert,
    "replace word": _replace_word,
    "drop column": _drop_column,
    "flip bytes": _flip,
    "reverse times": _reverse_times,
    "duplicate line": _lines(lambda lines, c: [*lines, c.choice(lines)]),
    "delete line": _lines(lambda lines, c: [line for line in lines if line is not c.choice(lines)]),
    "shuffle lines": _lines(lambda lines, c: c.sample(lines, len(lines))),
    "blank lines": _lines(lambda lines, c: [part for line in lines for part in (line, b"\n")]),
}
SLOW = {
    "10 MB line": lambda data, chance: data + chance.choice([b"x", b" ", b'"x"', b"[", b"a,"]) * 5_000_000,
    "10 MB word": lambda data, chance: data.replace(b"\n", b"\n" + b"w" * 10_000_000, 1),
}


def _attempt(
    name: str, tmp_path: Path, kind: str, mutate: Callable[[bytes, random.Random], bytes], seed: int
) -> str:
    """What became of one mutation: "" or the error's message."""
    chance = random.Random(f"{name} {kind} {seed}")
    folder = tmp_path / f"{kind}-{seed}"
    corpus = LAYOUTS[name](folder / "raw")
    (folder / SECRET).write_text("secret")
    files = [
        p
        for p in sorted((folder / "raw").rglob("*"))
        if p.is_file() and p.stat().st_size and p.name[:2] != "._"
    ]
    file = chance.choice(files)
    file.write_bytes(mutate(file.read_bytes(), chance))
    opened.clear()
    message = ""
    try:
        prepare(corpus, folder / "u.csv", folder / "l.csv")
        utterances = read_utterances(folder / "u.csv")
        read_labels(utterances, target_of(corpus), folder / "l.csv")
        assert all(is_inside(u.media) for u in utterances)
    except UserError as error:
        message = str(error)
        assert not (folder / "u.csv").exists()
        assert str(folder / "raw") in message
        if (
            kind not in {"empty", "header only", "delete line", "truncated", "cr"}
            and "contain no utterance" not in message
        ):
            # Files that are not text lines have a path in them instead of a line.
            assert re.search(r"\.\w+:\d+|\.(json|csd|pkl): \w", message), message
    assert not [path for path in opened if SECRET in path or path.startswith("/etc/passwd")]
    return message


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_generated_mutations(name, tmp_path, monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)
    kinds = list(MUTATIONS)
    refused = 0
    for seed in range(COUNT):
        kind = kinds[seed % len(kinds)]
        refused += bool(_attempt(name, tmp_path, kind, MUTATIONS[kind], seed))
    # Some mutations are harmless and some are not; a corpus that takes or refuses all is not looking.
    assert COUNT * 0.1 < refused < COUNT * 0.95


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("name", LAYOUTS)
def test_enormous_lines(name, kind, tmp_path, monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)
    for seed in range(3):
        message = _attempt(name, tmp_path, kind, SLOW[kind], seed)
        assert len(message) < 20_000
