"""What the user can mend, what the machine lacks, and how every entry point shows both: one message, no traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# A full, broken or locked disk, and a system that is short of memory or of files to open: no input's fault.
_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.ESTALE, errno.ENODEV, errno.ENXIO,
}  # fmt: skip

# What torch and Python's threads say of it, where they raise a plain RuntimeError.
_SHORT_OF_MEMORY = ("CUDA error: out of memory", "DefaultCPUAllocator", "can't start new thread")


class UserError(Exception):
    """A mistake in a params file, a table or a media file; the message says where, what, and what to do."""


def entry(main: Callable[[], None], interrupted: str = "interrupted") -> None:
    """Run an entry point; what the user or the machine must mend is one message on stderr, and exit code 2.

    `main` imports numpy, torch and what brings them: only then Ctrl-C is heard meanwhile, and every library finds out
    in time that it has one thread.

    Args:
        interrupted: what Ctrl-C says on stderr, before exit code 130.
    """
    from pipeline.env import ONE_THREAD  # which raises UserError itself

    os.environ.update(ONE_THREAD)
    # A file's name may hold bytes that are no text; they are shown escaped.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        main()
        sys.stdout.flush()  # a full disk behind `> log` is told here, not by the interpreter after us
    except UserError as error:
        _end(str(error))
    except KeyboardInterrupt:
        _end(f"\n{interrupted}", 130)
    except BrokenPipeError:
        # `python -m extract status | head` closes our stdout; that is no error of anybody's.
        _end("", 0)
    except (OSError, MemoryError, RuntimeError) as error:
        if not of_the_machine(error):
            raise
        _end(f"{_where(error)}{_why(error)}; make room, or choose another place or machine, and run again")


def of_the_machine(error: BaseException) -> bool:
    """Whether an exception tells of a lack of memory, disk or libraries here, and of nothing that was read."""
    if isinstance(error, OSError):
        return error.errno in _MACHINE or "cannot open shared object file" in str(error)
    # torch.OutOfMemoryError by its name: torch may not be loaded, and is not for this.
    short = type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORT_OF_MEMORY)
    )
    return short or isinstance(error, MemoryError | ImportError)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what an error of the file system means for `path`, which is being written.

    Raises:
        UserError: instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise not_written(path, error) from None


def not_written(path: Path, error: BaseException) -> UserError:
    """The message of a file that could not be written."""
    return UserError(
        f"{path}: not written: {_why(error)}; make room or choose another place, then run again "
        "(what lay there before is untouched)"
    )


def _where(error: BaseException) -> str:
    return f"{name}: " if (name := getattr(error, "filename", None)) else ""


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _end(message: str, code: int = 2) -> None:
    """Leave with a last message; what stdout could not take is not tried again."""
    if message:
        print(message if code == 130 else f"error: {message}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
