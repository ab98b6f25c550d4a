"""Shared parts of the encoders of sound and pictures: params, items, the file of an item, and errors of media.

Any problem with a file raises `MediaError` with a status and a reason. Nothing is guessed or skipped. The reason does
not name the file, because it is stored with the file's content, which may move. The readers are
extract/reading/sound.py and extract/reading/pictures.py.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from extract.contract import Failure, Item
from pipeline import fragments
from pipeline.params import Positive, StreamParams

if TYPE_CHECKING:
    from pipeline.tables.schema import Utterance


class MediaParams(StreamParams):
    """Params that every stream of sound or pictures adds to `StreamParams`.

    Attributes:
        max_seconds: a longer utterance gets the status `too_long`, because it is usually a segmentation error.
    """

    max_seconds: Positive = 120.0


class Span(NamedTuple):
    """A span of a media file.

    Attributes:
        path: the file, with its fragment.
        start: seconds; None is the file's start.
        end: seconds; None is the file's end.
        key: hash of the file's content and the span.
    """

    path: Path
    start: float | None
    end: float | None
    key: str


class MediaError(Exception):
    """A file or span without usable sound or pictures; `failure` holds the status and the reason."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(status, reason)


def media_item(utterance: Utterance, pictures: bool = False) -> Item | Failure:
    """Return the item of an utterance for encoders of media: the hash of the file's content, and the span.

    Args:
        utterance: a row of the table.
        pictures: whether the encoder reads pictures, so that the item includes a part of the frame
            (pipeline/fragments.py).
    """
    if not utterance.media:
        return Failure("missing_file", "the utterance has no media file in the table")
    if not utterance.media_hash:
        return Failure("missing_file", f"{utterance.media}: did not exist when the tables were prepared")
    content: dict[str, Any] = {"media": utterance.media_hash, "start": utterance.start, "end": utterance.end}
    if pictures and (part := fragments.split(utterance.media)[1]):
        content["part"] = list(part)
    return Item(content, source=utterance.media)


def source(media: Path, item: Item) -> Path:
    """Return the path of an item's file, including its fragment, after comparing the file with the item's hash.

    Raises:
        MediaError: `missing_file`, if the file cannot be read or has changed since the tables were prepared.
    """
    path = media / item.source
    file = Path(fragments.split(str(path))[0])
    try:
        about = file.stat()
        same = item.content["media"] == _sha256(file, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise MediaError("missing_file", f"{item.source}: cannot be read: {error.strerror}") from None
    if not same:
        raise MediaError("missing_file", f"{item.source}: has changed since the tables were prepared")
    return path


@lru_cache(maxsize=1000)
def _sha256(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
