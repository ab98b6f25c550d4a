"""The journal's database underneath: SQLite's connection, its errors told apart, rows with their checksums."""

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
# SQLite's answers that are about the disk or the other processes, not about the database's content.
_OUTSIDE = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_AUTH,
}  # fmt: skip


class Entry(NamedTuple):
    """One item's outcome: a status of `pipeline.features.STATUSES`, its reason, and its features' bytes."""

    key: str
    status: str
    error: str
    payload: bytes


class Damaged(Exception):
    """The database contradicts itself; `set_aside` and open it again."""


_COLUMNS = "key, status, error, payload, sha256"
SELECT = f"SELECT rowid, {_COLUMNS} FROM rows"


def connect(path: Path) -> sqlite3.Connection:
    """An open database with its one table.

    Raises:
        Damaged: it is no database, or not one of ours.
    """
    with errors(path):
        emptied = path.exists() and not path.stat().st_size
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            # A flipped bit may make text invalid UTF-8: as bytes it fails its checksum, and nothing else.
            db.text_factory = bytes
            # Keys are hashes, so every row touches another page of the index: with SQLite's 2 MB it is read from
            # the disk over and over once there are 100,000.
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute("BEGIN IMMEDIATE")
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                if emptied:
                    say(f"{path.name} is empty: begun again")
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
    """All of the entries or none, in a transaction of its own; they replace what is there."""
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
    """A row of `SELECT` as an entry, or None where its checksum fails."""
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
    """A lock on the journal's name: shared while it is open, exclusive to rename or delete it."""
    with on_disk(path):
        return lock(
            path.with_suffix(".lock"), mode, f"journal: {path.name}: waiting for another process that uses it"
        )


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """SQLite's errors, told apart: what the user can mend, and what is wrong with the database."""
    try:
        yield
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UserError(
                f"{path}: locked by another process for {BUSY_SECONDS:g} s; run again when it is done"
            ) from None
        if code in _OUTSIDE:
            raise _unwritable(path, error) from None
        raise Damaged(path) from error


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """The file system's errors as a message to the user; `BlockingIOError`, a lock not given, passes."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: cannot be written: {error}; free disk space (`python -m extract clean`) or mend the "
        "folder's permissions, and run again: what is committed is kept"
    )


def say(message: str) -> None:
    """Tell the user what happened to a journal; nobody has to act."""
    print(f"journal: {message}", file=sys.stderr)
