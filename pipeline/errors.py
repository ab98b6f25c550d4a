"""The one kind of error for what a user can mend, and how every entry point shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in a params file, a table or a media file; the message says where, what, and what to do."""


def entry(main: Callable[[], None], interrupted: str | None = None) -> None:
    """Run an entry point; a `UserError` becomes one message on stderr and exit code 2, without a traceback.

    interrupted: what Ctrl-C says on stderr, before exit code 130; None leaves it to Python.
    """
    # A file's name may hold bytes that are no text; they are shown escaped.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        main()
    except UserError as error:
        sys.exit(_fail(str(error)))
    except KeyboardInterrupt:
        if interrupted is None:
            raise
        print(interrupted, file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # `python -m extract status | head` closes our stdout; that is no error of anybody's.
        sys.stderr.close()
        sys.exit(0)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
