"""Put files in their place whole: whoever opens one sees the old content or the new one, never a part.

    with replacing(path) as part:
        part.write_bytes(...)

A crash at any point costs nothing, a full disk is one message, and two processes that write the same file take turns.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import not_written, of_the_machine, writing
from pipeline.locks import lock


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; what lies there at the end becomes `path`, at once and for good.

    Raises:
        UserError: the disk is full, read-only or broken; nothing new is left.
    """
    # One name, not a random one: what a kill leaves behind is overwritten by the next run instead of piling up.
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file that is written is the lock itself: it follows the path through links, and leaves nothing behind.
        handle = lock(part, fcntl.LOCK_EX, f"{path}: waiting for another process that writes it")
    with handle:
        try:
            with _filling(path):
                yield part
            with writing(path):
                # Killed before this line: a partial file under another name. After it: a whole one.
                _sync(part)
                # Atomic: whoever opens `path` sees the old file or the new one, whole.
                os.replace(part, path)
                # Without this a power cut could undo the rename, though never tear a file.
                _sync(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, an empty folder to fill. The one writer at a time is the caller's affair (`locks.alone`)."""
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    try:
        with _filling(path):
            yield part
        with writing(path):
            shutil.rmtree(path, ignore_errors=True)
            part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Put `text` (UTF-8) at `path`, as `replacing` does."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


class NotingFile(io.FileIO):
    """A file whose writes never fail, but are noted.

    HDF5 cannot close a file whose last blocks it cannot write, and torch hides the reason. So after the first failure
    the rest goes nowhere, and `check` says why nothing may be kept.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view and not self.failure:
                view = view[super().write(view) :]
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raise the first failure."""
        if self.failure:
            raise self.failure


@contextmanager
def _filling(path: Path) -> Iterator[None]:
    """Say what a full or broken disk means for `path`; any other error is the caller's own."""
    try:
        yield
    except OSError as error:
        if of_the_machine(error):
            raise not_written(path, error) from None
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
