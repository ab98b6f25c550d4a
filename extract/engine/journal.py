"""The journal: every item's outcome, kept from the moment it is there, so that no run is ever lost.

One SQLite database per fingerprint, `${DVC_ROOT:-.}/.cache/journal/FINGERPRINT.sqlite`, one row per item key.
What may happen to it, and why nothing is lost or believed wrongly:

- kill -9, power cut: SQLite's rollback journal with full synchronisation; a transaction is there or is not.
  (Not WAL: that is unsafe on network drives, and its files must not be parted.)
- queued experiments share it: transactions last milliseconds, others wait; the same item done twice has the
  same value, so the last writer does no harm.
- a row is damaged: every row carries the sha256 of all it holds, checked when it is read; a row that fails is
  dropped, so its item counts as missing.
- the database is damaged: it is set aside by name, its whole rows are taken over, the rest is missing.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from extract.engine.database import (
    BUSY_SECONDS,
    SELECT,
    Damaged,
    Entry,
    checked,
    connect,
    errors,
    insert,
    lock_file,
    on_disk,
    say,
)
from pipeline.locks import identity

__all__ = ["Damaged", "Entry", "Journal", "delete", "folder", "journal_path", "set_aside"]

# The longest that rows wait for a commit. A commit costs two flushes of the disk, so on a slow one the wait is
# a few times what the last one cost; workers go on meanwhile.
COMMIT_SECONDS = 0.5
COMMIT_COSTS = 4
READ_SECONDS = 0.05
QUERY_KEYS = 500


def folder() -> Path:
    """Where the journals lie: in the project itself, also for DVC's runs in temporary folders."""
    return Path(os.environ.get("DVC_ROOT") or ".") / ".cache" / "journal"


def journal_path(fingerprint: str) -> Path:
    """The database of the features that `fingerprint` stands for."""
    return folder() / f"{fingerprint}.sqlite"


class Journal:
    """One fingerprint's journal, open for reading and writing.

    Raises:
        UserError: the disk is full or unwritable, or another process keeps the database locked.
        Damaged: from any method; opening sets a damaged database aside by itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[Entry] = []
        self._due = 0.0
        with on_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock_file(path, fcntl.LOCK_SH)
        try:
            try:
                self._db = connect(path)
            except Damaged:
                self._lock.close()
                set_aside(path)
                self._lock = lock_file(path, fcntl.LOCK_SH)
                self._db = connect(path)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what waits, and let go of the database."""
        try:
            self.commit()
        finally:
            self._db.close()
            self._lock.close()

    def has(self, key: str) -> bool:
        """Whether there is a row; its content is checked when it is read."""
        with errors(self.path):
            return self._db.execute("SELECT 1 FROM rows WHERE key = ?", (key,)).fetchone() is not None

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys for which there is a row."""
        found: set[str] = set()
        # In the index's own order, so that neighbours are read together, and not one query (one lock) a key.
        ordered = iter(sorted(keys))
        with errors(self.path):
            while some := list(itertools.islice(ordered, QUERY_KEYS)):
                marks = ",".join("?" * len(some))
                rows = self._db.execute(f"SELECT key FROM rows WHERE key IN ({marks})", some)
                found.update(key.decode("utf-8", "replace") for (key,) in rows)
        return found

    def read(self, keys: Iterable[str]) -> Generator[Entry | None, None, None]:
        """`get` of many, in their order.

        In transactions of a moment each, since to take the lock costs more than to read a row; who writes
        meanwhile waits that long, or for what is made of one row.
        """
        due = 0.0
        try:
            for key in keys:
                with errors(self.path):
                    if not self._db.in_transaction:
                        self._db.execute("BEGIN")
                        due = time.monotonic() + READ_SECONDS
                    row = self._db.execute(f"{SELECT} WHERE key = ?", (key,)).fetchone()
                entry = checked(row) if row else None
                if entry is None or entry.key != key:
                    self._end_reading()
                    entry = self.get(key)  # which drops it, says so, and may find more amiss
                if time.monotonic() >= due:
                    self._end_reading()
                yield entry
        finally:
            self._end_reading()

    def _end_reading(self) -> None:
        if self._db.in_transaction:
            with errors(self.path):
                self._db.execute("ROLLBACK")

    def get(self, key: str) -> Entry | None:
        """An item's outcome, or None; a row whose checksum fails is dropped with a message."""
        with errors(self.path):
            row = self._db.execute(f"{SELECT} WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            entry = checked(row)
            if entry is None:
                self._db.execute("DELETE FROM rows WHERE rowid = ?", row[:1])
        if self._misled(entry, key):
            raise Damaged(self.path)
        if entry is None:
            say(f"{self.path.name}: the row of item {key[:12]}… is damaged: dropped, to be done again")
        return entry

    def _misled(self, entry: Entry | None, key: str) -> bool:
        """Whether the index led to another item's row, or still leads to one that was dropped."""
        return self.has(key) if entry is None else entry.key != key

    def put(self, entries: Iterable[Entry]) -> None:
        """Take outcomes in; all that waits is committed when the last commit lies far enough back.

        Called with nothing it only lets time pass: call it every fraction of a second.
        """
        self._pending += entries
        if time.monotonic() >= self._due:
            self.commit()

    def commit(self) -> None:
        """Write what waits to the disk, in one short transaction."""
        if not self._pending:
            return
        # What cannot be written now will not be written by `close` either.
        entries, self._pending = self._pending, []
        begin = time.monotonic()
        with errors(self.path):
            insert(self._db, entries)
        now = time.monotonic()
        self._due = now + min(COMMIT_SECONDS, COMMIT_COSTS * (now - begin))

    def forget_failures(self) -> int:
        """Drop all rows whose status is not `ok`, so that they are tried again; how many there were."""
        with errors(self.path):
            return self._db.execute("DELETE FROM rows WHERE status <> 'ok'").rowcount


def set_aside(path: Path) -> None:
    """Rename a damaged database and take its whole rows over into a new one.

    Waits until no other process has it open: renaming it under one would cost that one its rows.
    """
    before = identity(path)
    lock = lock_file(path, fcntl.LOCK_EX)
    try:
        if identity(path) != before:
            return  # another process has just done it
        number = 1
        while (damaged := path.with_name(f"{path.stem}.damaged-{number}.sqlite")).exists():
            number += 1
        with on_disk(path):
            for suffix in ("-journal", ""):
                with suppress(FileNotFoundError):
                    os.replace(f"{path}{suffix}", f"{damaged}{suffix}")
        db = connect(path)
        try:
            with errors(path):
                saved = _take_over(damaged, db)
        finally:
            db.close()
        say(
            f"{path.name} cannot be read: set aside as {damaged.name}; {saved} whole rows taken over, "
            "the rest is done again"
        )
    finally:
        lock.close()


def delete(path: Path) -> int | None:
    """Delete the databases of a journal, those set aside too where there are any; the bytes that frees.

    None, and nothing is deleted, where a process has the journal open.
    """
    try:
        lock = lock_file(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    freed = 0
    try:
        with on_disk(path):
            for part in sorted(path.parent.glob(f"{path.stem}.*")):
                freed += part.stat().st_size
                part.unlink()
    finally:
        lock.close()
    return freed


def _take_over(damaged: Path, db: sqlite3.Connection) -> int:
    """Copy every row that passes its checksum; the number of rows then there."""
    # Read from both ends up to where reading fails: damage is mostly in one place.
    for order in ("ASC", "DESC"):
        rows = _readable(damaged, order)
        while batch := list(itertools.islice(rows, 100)):
            insert(db, [entry for row in batch if (entry := checked(row))])
    return int(db.execute("SELECT count(*) FROM rows").fetchone()[0])


def _readable(damaged: Path, order: str) -> Iterator[tuple[Any, ...]]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(damaged, timeout=BUSY_SECONDS)) as db:
        db.text_factory = bytes
        # Without it SQLite refuses a truncated file whole, before its first row.
        db.execute("PRAGMA writable_schema = ON")
        yield from db.execute(f"{SELECT} NOT INDEXED ORDER BY rowid {order}")
