"""Provide temporary folders; each process removes the folders that killed processes left."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# Specific enough that no user's folder begins with it: unused folders with this prefix are deleted.
PREFIX = "emofuse-scratch-"


@contextmanager
def scratch(place: Path | None = None) -> Iterator[Path]:
    """Make an empty folder in `place` (default: the system's temporary folder), and remove it at the end.

    Raises:
        OSError: if the folder cannot be made.
    """
    place = place or Path(tempfile.gettempdir())
    with ExitStack() as until_the_end:
        # One process at a time, so that none removes a folder that another has made but not yet locked.
        with _locked(place, fcntl.LOCK_EX):
            for left in place.glob(f"{PREFIX}*"):
                _remove_unused(left)
            folder = Path(until_the_end.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=place)))
            until_the_end.enter_context(_locked(folder, fcntl.LOCK_EX))
        yield folder


def _remove_unused(folder: Path) -> None:
    # BlockingIOError: a process uses it. FileNotFoundError: its process has just removed it.
    with suppress(BlockingIOError, FileNotFoundError):
        if not folder.is_symlink() and folder.is_dir() and folder.stat().st_uid == os.getuid():
            with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path, mode: int) -> Iterator[None]:
    """Lock a folder; the system releases the lock when the process ends, even if it is killed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, mode)
        yield
    finally:
        os.close(handle)
