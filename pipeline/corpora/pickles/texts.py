"""Check the texts of a pickle, which may store a repeated text such as "Yes." once."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.corpora.raw import MAX_TEXT
from pipeline.errors import UserError

SHARED = 4  # characters of text per byte of the file
AGAIN = "download the file again from its authors"


def checked(texts: Sequence[str], room: int, file: str, part: str) -> list[str]:
    """Return the texts, with lone surrogates replaced, which are valid in Python but not in UTF-8.

    Args:
        texts: the texts.
        room: the most characters that all of them may have.
        file: the file, for messages.
        part: their part of the file, for messages.

    Raises:
        UserError: if a text is longer than MAX_TEXT, or all have more than `room` characters.
    """
    if (longest := max(map(len, texts), default=0)) > MAX_TEXT:
        raise UserError(
            f"{file}: {part}: a sentence has {longest:,} characters, more than {MAX_TEXT:,}; {AGAIN}"
        )
    if sum(map(len, texts)) > room:
        raise UserError(
            f"{file}: refused: it has more text than bytes, because it repeats sentences; {AGAIN}"
        )
    return [text.encode("utf-8", "replace").decode() for text in texts]
