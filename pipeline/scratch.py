"""A folder for what nobody keeps. What a killed process left of its own is removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# Long enough that no user's own folder has it: what bears it and is not in use is deleted.
PREFIX = "emofuse-scratch-"


@contextmanager
def scratch() -> Iterator[Path]:
    """Make an empty folder where the system keeps temporary files; it is gone at the end.

    Raises:
        OSError: there is no room for it.
    """
    place = Path(tempfile.gettempdir())
    with ExitStack() as until_the_end:
        # One process at a time: none may remove a folder that another has made and not yet locked.
        with _locked(place, fcntl.LOCK_EX):
            for left in place.glob(f"{PREFIX}*"):
                _remove_unused(left)
            folder = Path(until_the_end.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
            until_the_end.enter_context(_locked(folder, fcntl.LOCK_EX))
        yield folder


def _remove_unused(folder: Path) -> None:
    # Whoever works in it has its lock; one that ends at this moment removes it, too.
    with suppress(BlockingIOError, FileNotFoundError):
        if not folder.is_symlink() and folder.is_dir() and folder.stat().st_uid == os.getuid():
            with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path, mode: int) -> Iterator[None]:
    """Lock a folder; the system lets go when the process ends, however it ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, mode)
        yield
    finally:
        os.close(handle)
