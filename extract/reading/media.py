"""What the encoders of sound and pictures share: their params, the clip's item, its file, and what is wrong with it.

Whatever is wrong with a file becomes a `MediaError` that carries a status and a reason a person understands;
nothing is guessed or skipped. The reason does not name the file, since it is kept for its content, wherever
that lies. The readers are extract/reading/sound.py and extract/reading/pictures.py.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from extract.contract import Failure, Item
from pipeline import fragments
from pipeline.params import Positive, StreamParams
from pipeline.tables.schema import Utterance


class MediaParams(StreamParams):
    """What every stream of sound or pictures has beside `StreamParams`.

    `max_seconds`: a longer utterance is `too_long`; it is a cutting mistake more often than a speech.
    """

    max_seconds: Positive = 120.0


class MediaError(Exception):
    """A file or span that gives no sound or pictures; `failure` says why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(status, reason)


def media_item(utterance: Utterance, pictures: bool = False) -> Item | Failure:
    """The item of encoders that see a clip: its content's hash and the span, wherever the file lies.

    Args:
        pictures: the encoder sees pictures, so that a part of the frame (pipeline/fragments.py) is of concern.
    """
    if not utterance.media:
        return Failure("missing_file", "the table names no media file for this utterance")
    if not utterance.media_hash:
        return Failure(
            "missing_file",
            f"{utterance.media}: was not there when the tables were prepared",
        )
    content: dict[str, Any] = {"media": utterance.media_hash, "start": utterance.start, "end": utterance.end}
    if pictures and (part := fragments.split(utterance.media)[1]):
        content["part"] = list(part)
    return Item(content, source=utterance.media)


def source(media: Path, item: Item) -> Path:
    """The file of an item, with its part of the picture, if it is still the one that the table hashed.

    Raises:
        MediaError: `missing_file`: it is not there, or another than when the tables were prepared.
    """
    path = media / item.source
    file = Path(fragments.split(str(path))[0])
    try:
        about = file.stat()
        same = item.content["media"] == _sha256(file, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise MediaError("missing_file", f"{item.source}: cannot be read: {error.strerror}") from None
    if not same:
        raise MediaError("missing_file", f"{item.source}: another file than when the tables were prepared")
    return path


@lru_cache(maxsize=1000)
def _sha256(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
