"""A journal that is damaged or cannot be written loses no row that is whole and gives no wrong one."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from extract.engine.journal import Journal, set_aside
from pipeline import locks
from pipeline.errors import UserError
from tests.extract.journals import fill, recovered, rows
from tests.extract.project import PATIENCE, REPOSITORY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / f"{'f' * 64}.sqlite"


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
