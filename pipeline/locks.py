"""Lock files between processes; the system releases a lock when its process ends, even if it is killed."""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from pipeline.errors import writing

# Relative to the working folder, not DVC_ROOT: runs in different folders write different files.
FOLDER = Path(".cache/lock")


@contextmanager
def alone(stage: str) -> Iterator[None]:
    """Run a stage in one process of this folder at a time; others wait and name the running process.

    If only `dvc repro` is killed, its stage keeps running. Without the lock it would overwrite the results of the next
    run with its old ones.

    Raises:
        UserError: if the lock cannot be written.
    """
    path = FOLDER / f"{quote(stage, safe=' ')}.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = lock(path, fcntl.LOCK_EX, f"{stage}: waiting for another process of this stage:")
        handle.truncate(0)
        handle.write(f"process {os.getpid()}, {shlex.join(['python', *sys.orig_argv[1:]])}")
        handle.flush()
    with handle:
        yield


def lock(path: Path, mode: int, waiting: str) -> TextIO:
    """Lock a file until the returned handle is closed; make the file if it is missing.

    Args:
        path: the file.
        mode: `fcntl.LOCK_EX`, `fcntl.LOCK_SH`, or one of them with `fcntl.LOCK_NB` to fail instead of waiting.
        waiting: the message on stderr while another process holds the lock; the file's content is appended to it.

    Raises:
        BlockingIOError: if another process holds the lock and `mode` has `LOCK_NB`.
        OSError: if the file cannot be made.
    """
    while True:
        handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115  (stays open while the lock is held)
        try:
            fcntl.flock(handle, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if mode & fcntl.LOCK_NB:
                handle.close()
                raise
            handle.seek(0)
            say(f"{waiting} {handle.read()}".rstrip())
            fcntl.flock(handle, mode)
        # The holder may have renamed or removed the file; a lock on the old file would have no effect.
        if identity(path) == identity(handle.fileno()):
            return handle
        handle.close()


def say(message: str) -> None:
    """Print a progress message on stderr."""
    print(message, file=sys.stderr, flush=True)


def identity(file: Path | int) -> tuple[int, int] | None:
    """Return device and inode of a path or a file descriptor; None if there is no file."""
    with suppress(FileNotFoundError):
        stat = os.stat(file)
        return stat.st_dev, stat.st_ino
    return None
