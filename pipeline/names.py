"""What a name may be that comes from a file and becomes a path, a stage or an argument: one check for all of them.

The names are those of streams (params.yaml, model records, feature files), corpora, weights and labels. As types
they stand in the models of params.yaml and of model records; `is_inside` is for the paths of media.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

# Words of `python -m extract` and of `train.streams`; a stream of such a name could not be asked for.
RESERVED = ("status", "retry", "clean", "none")
# With `.damaged-1.sqlite` behind it a name still fits into the 255 bytes of a file's.
LONGEST = 100


def stream(name: str) -> str:
    """Return `name` if a stream may have it.

    Raises:
        ValueError: it would be no plain file name, no stage of DVC, or a word of the command line.
    """
    if name in RESERVED:
        raise _wrong(f"is a word of the command line ({', '.join(RESERVED)}); choose another name")
    if not name or not all(c.isalnum() or c in "-_" for c in name) or name.startswith("-"):
        raise _wrong("a stream's name is made of letters, digits, - and _, since it names a file and a stage")
    return _short(name)


def stream_or_none(name: str) -> str:
    """Return `name` if it names a stream, or is `none`.

    Raises:
        ValueError: as `stream`.
    """
    return name if name == "none" else stream(name)


def file(name: str) -> str:
    """Return `name` if it is the name of one file: no folder, nothing unprintable.

    Raises:
        ValueError: it is not.
    """
    if name in ("", ".", "..") or not name.isprintable() or any(c in "/\\" for c in name):
        raise _wrong("must be the plain name of a file, without folders")
    return _short(name)


def label(name: str) -> str:
    """Return `name` if an emotion may have it: it is a column of tables and a word of every page.

    Raises:
        ValueError: it is empty, unprintable or endless.
    """
    if not name or not name.isprintable():
        raise _wrong("must be a word, without line breaks or other control characters")
    return _short(name)


def is_inside(media: str) -> bool:
    """Return whether a relative media path stays inside the folder it is relative to."""
    absolute = media.startswith("/") or re.match("[A-Za-z]:[/\\\\]", media)
    return not absolute and ".." not in media.split("/") and "\0" not in media and "\\" not in media


def _short(name: str) -> str:
    if len(name.encode()) > LONGEST:
        raise _wrong(f"is longer than {LONGEST} bytes")
    return name


def _wrong(why: str) -> PydanticCustomError:
    # A ValueError whose text pydantic shows as it stands.
    return PydanticCustomError("name", why)  # type: ignore[arg-type]


StreamName = Annotated[str, AfterValidator(stream)]
StreamOrNone = Annotated[str, AfterValidator(stream_or_none)]
FileName = Annotated[str, AfterValidator(file)]
Label = Annotated[str, AfterValidator(label)]
