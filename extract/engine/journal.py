"""The journal: a database that keeps the outcome of every item, so that an interrupted run can resume.

There is one SQLite database per fingerprint, `${DVC_ROOT:-.}/.cache/journal/FINGERPRINT.sqlite`, with one row per item
key. The journal survives these faults:

- kill -9 or a power cut: SQLite's rollback journal with full synchronisation keeps each transaction whole. (WAL mode
  is unsafe on network drives, and its three files must stay together.)
- queued experiments share the journal: a transaction takes milliseconds, and other processes wait for it. Two
  processes that extract the same item compute the same value, so either may write last.
- a damaged row: each row has a sha256 of its content, checked at every read. A row that fails the check is deleted,
  and its item is extracted again.
- a damaged database: it is renamed, its intact rows are copied to a new one, and the other items are extracted again.
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

# The longest time between two commits. A commit flushes the disk twice. The time between commits is a multiple of the
# last commit's duration, so that a slow disk does not hold up the workers.
COMMIT_SECONDS = 0.5
COMMIT_COSTS = 4
READ_SECONDS = 0.05
QUERY_KEYS = 500


def folder() -> Path:
    """Return the folder of the journals: the project's own, also in a DVC run inside a temporary folder."""
    return Path(os.environ.get("DVC_ROOT") or ".") / ".cache" / "journal"


def journal_path(fingerprint: str) -> Path:
    """Return the path of the journal for a fingerprint."""
    return folder() / f"{fingerprint}.sqlite"


class Journal:
    """One fingerprint's journal, open for reading and writing.

    The constructor calls `set_aside` on a damaged database and opens the new one.

    Raises:
        UserError: the disk is full or unwritable, or another process holds the database locked.
        Damaged: a method found the database damaged.
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
        """Commit pending entries and close the database."""
        try:
            self.commit()
        finally:
            self._db.close()
            self._lock.close()

    def has(self, key: str) -> bool:
        """Return whether the key has a row. `get` and `read` check the content."""
        with errors(self.path):
            return self._db.execute("SELECT 1 FROM rows WHERE key = ?", (key,)).fetchone() is not None

    def known(self, keys: Iterable[str]) -> set[str]:
        """Return the keys that have a row."""
        found: set[str] = set()
        # Sorted keys let SQLite read neighbouring pages together; many keys per query need few locks.
        ordered = iter(sorted(keys))
        with errors(self.path):
            while some := list(itertools.islice(ordered, QUERY_KEYS)):
                marks = ",".join("?" * len(some))
                rows = self._db.execute(f"SELECT key FROM rows WHERE key IN ({marks})", some)
                found.update(key.decode("utf-8", "replace") for (key,) in rows)
        return found

    def read(self, keys: Iterable[str]) -> Generator[Entry | None, None, None]:
        """Yield `get(key)` for each key, in order.

        One transaction reads for up to `READ_SECONDS`, because taking the lock costs more than reading a row. Other
        processes cannot write during that time, or while the caller handles one row.
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
                    entry = self.get(key)  # deletes and reports the row, or raises Damaged
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
        """Return an item's outcome, or None if there is none.

        A row whose checksum fails is deleted and reported on stderr.

        Raises:
            Damaged: the index is inconsistent with the rows.
        """
        with errors(self.path):
            row = self._db.execute(f"{SELECT} WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            entry = checked(row)
            if entry is None:
                self._db.execute("DELETE FROM rows WHERE rowid = ?", row[:1])
        if self._index_is_wrong(entry, key):
            raise Damaged(self.path)
        if entry is None:
            say(
                f"{self.path.name}: the row of item {key[:12]}… is damaged; deleted it, the item is extracted again"
            )
        return entry

    def _index_is_wrong(self, entry: Entry | None, key: str) -> bool:
        """Return whether the index points to another item's row, or to the row just deleted."""
        return self.has(key) if entry is None else entry.key != key

    def put(self, entries: Iterable[Entry]) -> None:
        """Add outcomes; commit all pending ones if the last commit is old enough.

        Call this several times a second, with no entries if there are none, so that pending entries are committed.
        """
        self._pending += entries
        if time.monotonic() >= self._due:
            self.commit()

    def commit(self) -> None:
        """Write the pending entries in one transaction."""
        if not self._pending:
            return
        # Cleared first: after a failed write, `close` must not try the same entries again.
        entries, self._pending = self._pending, []
        begin = time.monotonic()
        with errors(self.path):
            insert(self._db, entries)
        now = time.monotonic()
        self._due = now + min(COMMIT_SECONDS, COMMIT_COSTS * (now - begin))

    def forget_failures(self) -> int:
        """Delete all rows whose status is not `ok` and return their number. The next run tries these items again."""
        with errors(self.path):
            return self._db.execute("DELETE FROM rows WHERE status <> 'ok'").rowcount


def set_aside(path: Path) -> None:
    """Rename a damaged database and copy its intact rows to a new one.

    Waits until no other process has the database open. Otherwise that process would write to the renamed file.

    Raises:
        UserError: the disk is full or unwritable, or another process holds the database locked.
    """
    before = identity(path)
    lock = lock_file(path, fcntl.LOCK_EX)
    try:
        if identity(path) != before:
            return  # another process has renamed it meanwhile
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
                saved = _copy_intact(damaged, db)
        finally:
            db.close()
        say(
            f"{path.name} is damaged; renamed it to {damaged.name} and recovered {saved} intact rows; the other "
            "items are extracted again"
        )
    finally:
        lock.close()


def delete(path: Path) -> int | None:
    """Delete a journal and its damaged predecessors; return the number of bytes freed.

    Returns None, and deletes nothing, if a process has the journal open.

    Raises:
        UserError: a file cannot be deleted.
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


def _copy_intact(damaged: Path, db: sqlite3.Connection) -> int:
    """Copy every row that passes its checksum; return the number of rows in `db`."""
    # Damage is mostly in one place. Reading from both ends up to it recovers all rows around it.
    for order in ("ASC", "DESC"):
        rows = _readable(damaged, order)
        while batch := list(itertools.islice(rows, 100)):
            insert(db, [entry for row in batch if (entry := checked(row))])
    return int(db.execute("SELECT count(*) FROM rows").fetchone()[0])


def _readable(damaged: Path, order: str) -> Iterator[tuple[Any, ...]]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(damaged, timeout=BUSY_SECONDS)) as db:
        db.text_factory = bytes
        # Without this pragma SQLite refuses to read any row of a truncated file.
        db.execute("PRAGMA writable_schema = ON")
        yield from db.execute(f"{SELECT} NOT INDEXED ORDER BY rowid {order}")
