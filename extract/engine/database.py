"""The SQLite layer of the journal: connection, checksummed rows, and the two kinds of SQLite error."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from pipeline.errors import UserError
from pipeline.locks import lock

SCHEMA = 1
BUSY_SECONDS = 120.0
CACHE_KIB = 64 << 10
# Error codes caused by the disk or by another process. All other codes mean that the content is damaged.
_OUTSIDE = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_AUTH,
}  # fmt: skip


class Entry(NamedTuple):
    """The outcome of one item.

    Attributes:
        key: sha256 of the item's content, hex (`Item.key`).
        status: one of `pipeline.features.STATUSES`.
        error: why there are no features, or a remark on the features of `ok`; may be empty.
        payload: the features as safetensors bytes; empty unless the status is `ok`.
    """

    key: str
    status: str
    error: str
    payload: bytes


class Damaged(Exception):
    """The content of a database is inconsistent. Call `set_aside`, then open the journal again."""


_COLUMNS = "key, status, error, payload, sha256"
SELECT = f"SELECT rowid, {_COLUMNS} FROM rows"


def connect(path: Path) -> sqlite3.Connection:
    """Open the database; create its table if the file is new.

    Raises:
        Damaged: the file is not an SQLite database, or has another schema.
        UserError: the disk or another process prevents access.
    """
    with errors(path):
        emptied = path.exists() and not path.stat().st_size
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            # A flipped bit can make text invalid UTF-8. Bytes always load, and the checksum then finds the damage.
            db.text_factory = bytes
            # Keys are hashes, so every access hits a random page of the index. From about 100,000 rows the index
            # exceeds SQLite's default cache of 2 MB, and pages would be read from the disk again and again.
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute("BEGIN IMMEDIATE")
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                if emptied:
                    say(f"{path.name} was an empty file; started a new journal in it")
                db.execute(
                    "CREATE TABLE rows (key TEXT PRIMARY KEY NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL, "
                    "payload BLOB NOT NULL, sha256 BLOB NOT NULL)"
                )
                db.execute(f"PRAGMA user_version = {SCHEMA}")
            db.execute("COMMIT")
            if db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
                raise Damaged(path)
            db.execute(f"{SELECT} LIMIT 1").fetchone()
        except BaseException:
            db.close()
            raise
        return db


def insert(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Write all entries in one transaction, or none. An entry replaces the row of the same key."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.executemany(
            f"INSERT OR REPLACE INTO rows ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
            ((*e, _sha256(e.key.encode(), e.status.encode(), e.error.encode(), e.payload)) for e in entries),
        )
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def checked(row: tuple[Any, ...]) -> Entry | None:
    """Convert a row of `SELECT` into an entry; return None if its checksum fails."""
    _, key, status, error, payload, sha256 = row
    if not all(isinstance(value, bytes) for value in row[1:]):
        return None
    if _sha256(key, status, error, payload) != sha256:
        return None
    return Entry(key.decode(), status.decode(), error.decode(), payload)


def _sha256(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def lock_file(path: Path, mode: int) -> TextIO:
    """Lock the journal: `LOCK_SH` while it is open, `LOCK_EX` to rename or delete it.

    Raises:
        BlockingIOError: `mode` has `LOCK_NB`, and another process holds the lock.
        UserError: the lock file cannot be written.
    """
    with on_disk(path):
        return lock(
            path.with_suffix(".lock"), mode, f"journal: {path.name}: waiting for another process that uses it"
        )


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """Translate errors of SQLite.

    Raises:
        UserError: the disk is full or unwritable, or another process holds the database locked.
        Damaged: the content of the database is damaged.
    """
    try:
        yield
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UserError(
                f"{path}: locked by another process for {BUSY_SECONDS:g} s; run again after that process has ended"
            ) from None
        if code in _OUTSIDE:
            raise _unwritable(path, error) from None
        raise Damaged(path) from error


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turn errors of the file system into a UserError. `BlockingIOError` passes, because `lock_file` raises it."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: cannot be written: {error}; free disk space (`python -m extract clean`) or correct the folder's "
        "permissions, then run again; committed features are kept"
    )


def say(message: str) -> None:
    """Report an event that needs no action by the user, on stderr."""
    print(f"journal: {message}", file=sys.stderr)
