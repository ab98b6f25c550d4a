"""Report users' mistakes and machine faults (memory, disk, libraries) as one message without a traceback."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Machine faults: a full, broken or read-only disk, too little memory, too many open files. No input causes them.
_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.ESTALE, errno.ENODEV, errno.ENXIO,
}  # fmt: skip

# Messages of torch and Python's threads, which raise a plain RuntimeError when memory is short.
_SHORT_OF_MEMORY = ("CUDA error: out of memory", "DefaultCPUAllocator", "can't start new thread")


class UserError(Exception):
    """A user's mistake; the message says what happened, where, and what to do."""


def entry(main: Callable[[], None], interrupted: str = "interrupted") -> None:
    """Run an entry point; print a user's mistake or a machine fault on stderr and exit with code 2.

    `main` must import numpy, torch and the modules that need them. This function handles Ctrl-C during these imports,
    and it sets the number of threads before the libraries read it.

    Args:
        main: the function to run.
        interrupted: the message on Ctrl-C, which exits with code 130.
    """
    from pipeline.env import ONE_THREAD  # here, because pipeline.env imports this module

    os.environ.update(ONE_THREAD)
    # Otherwise the interpreter, at its end, searches all objects of the libraries for garbage, which takes a second.
    atexit.register(gc.freeze)
    # A file's name may contain invalid text, which is shown escaped.
    # typeshed declares sys.stdout as TextIO, which has no `reconfigure`.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        main()
        sys.stdout.flush()  # report a full disk behind `> log` here; otherwise the interpreter fails at its exit
    except UserError as error:
        _end(str(error))
    except KeyboardInterrupt:
        _end(f"\n{interrupted}", 130)
    except BrokenPipeError:
        # `python -m extract status | head` closes stdout early, which is not an error.
        _end("", 0)
    except (OSError, MemoryError, RuntimeError) as error:
        if not of_the_machine(error):
            raise
        _end(
            f"{_where(error)}{_why(error)}; free space or memory, or use another disk or machine, then run again"
        )


def of_the_machine(error: BaseException) -> bool:
    """Return whether the machine caused an exception (memory, disk, libraries), not an input."""
    if isinstance(error, OSError):
        return error.errno in _MACHINE or "cannot open shared object file" in str(error)
    # torch.OutOfMemoryError is compared by name, so that torch need not be imported.
    short = type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORT_OF_MEMORY)
    )
    return short or isinstance(error, MemoryError | ImportError)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an OSError while `path` is written to a UserError.

    Raises:
        UserError: if the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        raise not_written(path, error) from None


def not_written(path: Path, error: BaseException) -> UserError:
    """Return the error for a file that could not be written."""
    return UserError(
        f"{path}: not written: {_why(error)}; free space or choose another disk, then run again "
        "(an older file there is unchanged)"
    )


def _where(error: BaseException) -> str:
    return f"{name}: " if (name := getattr(error, "filename", None)) else ""


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _end(message: str, code: int = 2) -> None:
    """Exit with a message; discard buffered output that stdout did not accept."""
    if message:
        print(message if code == 130 else f"error: {message}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
