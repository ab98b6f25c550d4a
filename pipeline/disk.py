"""Replace files atomically: a reader sees the old content or the new content, never a part.

    with replacing(path) as part:
        part.write_bytes(...)

A crash at any point leaves the old file intact. A full disk gives one message. Two processes that write the same file
take turns.
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

from typing_extensions import override

from pipeline.errors import not_written, of_the_machine, writing
from pipeline.locks import lock


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; at the end it replaces `path`, atomically and durably.

    Raises:
        UserError: if the disk is full, read-only or broken; the temporary file is removed.
    """
    # The name is fixed, so that the next run overwrites the file of a killed run.
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The temporary file is also the lock, so no lock file remains, and links to the same folder share it.
        handle = lock(part, fcntl.LOCK_EX, f"{path}: waiting for another process that writes it")
    with handle:
        try:
            with _filling(path):
                yield part
            with writing(path):
                # A crash before this line may leave an incomplete temporary file; `path` is still the old file.
                _sync(part)
                # Atomic: a crash here leaves either the old file or the complete new one.
                os.replace(part, path)
                # Without this, a power failure could undo the rename.
                _sync(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces the folder `path` at the end.

    The caller must ensure that only one process writes it (`locks.alone`).

    Raises:
        UserError: if the disk is full, read-only or broken; the temporary folder is removed.
    """
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
    """Write `text` to `path` in UTF-8, atomically.

    Raises:
        UserError: see `replacing`.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


class NotingFile(io.FileIO):
    """A file that records the first failed write instead of raising it.

    HDF5 cannot close a file if its last blocks cannot be written, and torch hides the reason. After the first failure,
    all further data is discarded, and `check` raises the failure.
    """

    failure: OSError | None = None

    @override
    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view and not self.failure:
                view = view[super().write(view) :]
        except OSError as error:
            self.failure = error
        return size

    @override
    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raise the first failure, if any.

        Raises:
            OSError: if a write failed.
        """
        if self.failure:
            raise self.failure


@contextmanager
def _filling(path: Path) -> Iterator[None]:
    """Convert a disk fault to a UserError that names `path`; other errors pass unchanged."""
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
