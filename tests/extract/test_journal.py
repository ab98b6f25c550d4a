"""The journal: what is in it comes back as it was, or not at all."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from extract.engine import database, journal
from extract.engine.journal import Damaged, Entry, Journal, delete, set_aside
from pipeline import locks
from pipeline.errors import UserError
from tests.extract.project import PATIENCE, REPOSITORY


def rows(count: int, size: int = 700) -> list[Entry]:
    rng = random.Random(count)
    made = [Entry(f"{i:064x}", "ok", "", rng.randbytes(size)) for i in range(count)]
    return [e if i % 5 else Entry(e.key, "no_face", f"no face in {i}", b"") for i, e in enumerate(made)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / f"{'f' * 64}.sqlite"


def fill(path: Path, entries: list[Entry]) -> None:
    with Journal(path) as db:
        db.put(entries)


def recovered(path: Path, entries: list[Entry]) -> int:
    """How many rows came through; every one that did must be right, and after a few rounds all are there."""
    kept = None
    for _ in range(4):
        try:
            with Journal(path) as db:
                keys = [e.key for e in entries]
                found = dict(zip(keys, db.read(keys), strict=True))
                assert all(found[e.key] in (e, None) for e in entries)
                lost = [e for e in entries if found[e.key] is None]
                kept = len(entries) - len(lost) if kept is None else kept
                if not lost:
                    return kept
                # As a run does: what the journal says it has is not done again.
                known = db.known(e.key for e in lost)
                db.put([e for e in lost if e.key not in known])
        except Damaged:
            set_aside(path)
    raise AssertionError("still not whole after four rounds")


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


def test_a_row_with_a_flipped_bit_is_dropped_and_said_so(path: Path, capsys: pytest.CaptureFixture) -> None:
    entries = rows(30)
    fill(path, entries)
    data = bytearray(path.read_bytes())
    data[data.index(entries[7].payload) + 100] ^= 4
    path.write_bytes(data)
    assert recovered(path, entries) == 29
    assert f"the row of item {entries[7].key[:12]}… is damaged" in capsys.readouterr().err
    assert not list(path.parent.glob("*damaged*"))


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(s, marks=pytest.mark.slow) for s in range(10, 600))]
)
def test_no_flipped_bits_ever_give_a_wrong_row(path: Path, seed: int) -> None:
    entries, rng = rows(60), random.Random(seed)
    fill(path, entries)
    data = bytearray(path.read_bytes())
    for _ in range(1 + seed % 5):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    # One page holds some rows, or the way to a part of them; the file's first page may cost all.
    recovered(path, entries)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.77, 0.97])
def test_a_truncated_database_is_set_aside_and_its_whole_rows_live_on(
    path: Path, share: float, capsys: pytest.CaptureFixture
) -> None:
    entries = rows(200)
    fill(path, entries)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    kept = recovered(path, entries)
    assert kept >= (len(entries) * share * 0.5 if share > 0.1 else 0)
    said = capsys.readouterr().err
    assert f"{'f' * 64}.damaged-1.sqlite and recovered {kept} intact rows" in said
    assert (path.parent / f"{'f' * 64}.damaged-1.sqlite").stat().st_size == int(len(data) * share)


def test_an_emptied_database_is_noticed(path: Path, capsys: pytest.CaptureFixture) -> None:
    fill(path, rows(5))
    path.write_bytes(b"")
    assert recovered(path, rows(5)) == 0
    assert "was an empty file" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 200, b"\0" * 4096])
def test_another_file_in_its_place_is_set_aside(
    path: Path, content: bytes, capsys: pytest.CaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert recovered(path, rows(5)) == 0
    assert "is damaged; renamed it to" in capsys.readouterr().err


def test_another_programs_database_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE other (x)")
    assert recovered(path, rows(5)) == 0


def test_setting_aside_waits_for_other_users(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, rows(5))
    other = Journal(path)
    said = threading.Event()
    monkeypatch.setattr(locks, "say", lambda line: said.set() if "waiting for another" in line else None)
    waiting = threading.Thread(target=set_aside, args=(path,))
    waiting.start()
    assert said.wait(PATIENCE)
    assert waiting.is_alive()
    other.put(rows(8))
    other.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    with Journal(path) as db:
        assert all(db.has(e.key) for e in rows(8)[5:])


def test_what_another_process_has_set_aside_is_not_set_aside_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, rows(5))
    waiting = threading.Semaphore(0)
    monkeypatch.setattr(locks, "say", lambda line: waiting.release())
    other = Journal(path)
    threads = [threading.Thread(target=set_aside, args=(path,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=PATIENCE)
    other.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(list(path.parent.glob("*damaged*"))) == 1


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


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Journal(tmp_path / "file" / "x.sqlite")


def test_a_full_disk_keeps_what_was_committed(path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from extract.engine.journal import *\n"
        "from pipeline.errors import UserError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "db = Journal(Path(sys.argv[1]))\n"
        "try:\n"
        "    for i in range(1000): db.put([Entry(f'{i:064x}', 'ok', '', bytes(5000))]); db.commit()\n"
        "except UserError as error: print(i, error)\n"
        "db.close()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == 0, result.stderr
    count, message = result.stdout.split(" ", 1)
    assert 30 < int(count) < 60
    assert "cannot be written" in message
    assert "free disk space" in message
    with Journal(path) as db:
        assert [db.has(f"{i:064x}") for i in range(1000)] == [i < int(count) for i in range(1000)]
        db.put(rows(200))
