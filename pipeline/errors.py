"""The one kind of error for what a user can mend, and how every entry point shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in a params file, a table or a media file; the message says where, what, and what to do."""


def entry(main: Callable[[], None]) -> None:
    """Run an entry point; a `UserError` becomes one message on stderr and exit code 2, without a traceback."""
    try:
        main()
    except UserError as error:
        sys.exit(_fail(str(error)))
    except BrokenPipeError:
        # `python -m extract status | head` closes our stdout; that is no error of anybody's.
        sys.stderr.close()
        sys.exit(0)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
