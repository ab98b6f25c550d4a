"""Locks between processes: the system lets go of one when its holder ends, however it ends."""

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

# Of the folder that a run works in, not of DVC_ROOT: runs in folders of their own make files of their own.
FOLDER = Path(".cache/lock")


@contextmanager
def alone(stage: str) -> Iterator[None]:
    """Let one process of this folder at a time run a stage; the others wait, and say for whom.

    A stage runs on where its `dvc repro` alone was killed. Without this it would write its old results over those
    of the next run.

    Raises:
        UserError: the lock cannot be written.
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
    """Lock the file `path`, which is made where it is not there, until the handle that this returns is closed.

    Args:
        mode: `fcntl.LOCK_EX`, `fcntl.LOCK_SH`, or one of them with `fcntl.LOCK_NB`: then nothing is waited for.
        waiting: what stderr says while another process has the lock; what that process wrote into the file follows.

    Raises:
        BlockingIOError: with `LOCK_NB`, another process has it.
        OSError: the file cannot be made.
    """
    while True:
        handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115  (open as long as the lock is held)
        try:
            fcntl.flock(handle, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if mode & fcntl.LOCK_NB:
                handle.close()
                raise
            handle.seek(0)
            say(f"{waiting} {handle.read()}".rstrip())
            fcntl.flock(handle, mode)
        # The holder may have renamed or removed the file: a lock on it would bind nobody.
        if identity(path) == identity(handle.fileno()):
            return handle
        handle.close()


def say(message: str) -> None:
    """Tell the user what is waited for; nobody has to act."""
    print(message, file=sys.stderr, flush=True)


def identity(file: Path | int) -> tuple[int, int] | None:
    """Which file a path or an open file's number stands for; None where there is none."""
    with suppress(FileNotFoundError):
        stat = os.stat(file)
        return stat.st_dev, stat.st_ino
    return None
