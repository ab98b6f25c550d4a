"""The journal: what is in it comes back as it was, or not at all."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extract.engine import database, journal
from extract.engine.journal import Entry, Journal, delete
from pipeline.errors import UserError
from tests.extract.journals import fill, rows
from tests.extract.project import PATIENCE, REPOSITORY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / f"{'f' * 64}.sqlite"


def test_many_are_known_and_read_as_each_would_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "QUERY_KEYS", 7)
    monkeypatch.setattr(journal, "READ_SECONDS", 0.0)
    entries = rows(40, 20)
    fill(path, entries)
    keys = [e.key for e in entries]
    random.Random(0).shuffle(keys)
    with Journal(path) as db:
        assert db.known([*keys, "absent", *keys[:3]]) == set(keys)
        assert db.known([]) == set()
        asked = [*keys, "absent", keys[0]]
        assert list(db.read(asked)) == [db.get(key) for key in asked]


def test_asking_for_many_takes_few_queries_and_locks(path: Path) -> None:
    entries = rows(2000, 10)
    fill(path, entries)
    said: list[str] = []
    with Journal(path) as db:
        db._db.set_trace_callback(said.append)
        db.known(e.key for e in entries)
        assert len(said) == 2000 / journal.QUERY_KEYS
        said.clear()
        begin = time.monotonic()
        assert sum(1 for _ in db.read(e.key for e in entries)) == 2000
        transactions = sum(line == "BEGIN" for line in said)
        assert transactions <= 1 + (time.monotonic() - begin) / journal.READ_SECONDS


def test_a_reader_in_no_hurry_lets_others_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 5.0)
    monkeypatch.setattr(journal, "READ_SECONDS", 0.0)
    entries, late = rows(20), Entry("d" * 64, "ok", "", b"late")
    fill(path, entries)
    with Journal(path) as slow:
        reading = slow.read([e.key for e in entries])
        next(reading)
        assert next(reading)
        fill(path, [late])  # the reader is between two transactions now
        assert len(list(reading)) == 18
        # One that stops in the middle, as a merge does on a full disk, holds nothing any more.
        monkeypatch.setattr(journal, "READ_SECONDS", 100.0)
        broken_off = slow.read([e.key for e in entries])
        next(broken_off)
        broken_off.close()
        fill(path, [late])


def test_what_is_put_comes_back(path: Path) -> None:
    entries = [*rows(20), Entry("e" * 64, "failed", "öffnet nicht: „Ü“", b"")]
    fill(path, entries)
    with Journal(path) as db:
        assert [db.get(e.key) for e in entries] == entries
        assert db.has(entries[3].key)
        assert not db.has("absent")
        assert db.get("absent") is None


def test_a_row_put_again_replaces_the_first(path: Path) -> None:
    fill(path, [Entry("a" * 64, "failed", "tired", b"")])
    fill(path, [Entry("a" * 64, "ok", "", b"x")])
    with Journal(path) as db:
        assert db.get("a" * 64) == Entry("a" * 64, "ok", "", b"x")


def test_failures_are_forgotten_on_request(path: Path) -> None:
    entries = rows(10)
    fill(path, entries)
    with Journal(path) as db:
        assert db.forget_failures() == 2
        assert [db.has(e.key) for e in entries] == [e.status == "ok" for e in entries]


def test_rows_are_committed_within_a_second(path: Path) -> None:
    first, second = rows(2)
    with Journal(path) as writer, Journal(path) as reader:
        writer.put([first])
        assert reader.has(first.key)
        assert writer._due <= time.monotonic() + journal.COMMIT_SECONDS
        writer._due = time.monotonic() + 100
        writer.put([second])
        assert not reader.has(second.key)
        writer._due = time.monotonic()
        writer.put([])
        assert reader.has(second.key)
    assert journal.COMMIT_SECONDS + 0.1 < 1


def test_closing_commits(path: Path) -> None:
    with Journal(path) as db:
        db._due = time.monotonic() + 100
        db.put(rows(3))
    with Journal(path) as db:
        assert all(db.has(e.key) for e in rows(3))


def test_a_journal_in_use_is_not_deleted(path: Path) -> None:
    fill(path, rows(5))
    size = path.stat().st_size
    with Journal(path):
        assert delete(path) is None
    assert delete(path) == size
    assert not list(path.parent.iterdir())
    fill(path, rows(5))


def test_many_processes_write_one_journal(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from extract.engine.journal import *\n"
        "with Journal(Path(sys.argv[1])) as db:\n"
        "    for i in range(int(sys.argv[2]), int(sys.argv[2]) + 10):\n"
        "        db.put([Entry(f'{i:064x}', 'ok', '', str(i).encode() * 999)]); db.commit()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(start)], cwd=REPOSITORY)
        for start in (0, 5, 10)
    ]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0]
    with Journal(path) as db:
        entries = [db.get(f"{i:064x}") for i in range(20)]
    assert [e and e.payload for e in entries] == [str(i).encode() * 999 for i in range(20)]


def test_a_lock_that_is_never_freed_is_the_users_to_mend(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    fill(path, rows(5))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other, Journal(path) as db:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"locked by another process for 0\.2 s"):
            db.put(rows(8))
