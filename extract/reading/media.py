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
    from pipeline.tables.schema import Source, Utterance


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
        key: hash of the file's content, the span, and the part that the fragment names.
        sound: the span of the sound, if an encoder of pictures listens and the sound has its own file or channel.
    """

    path: Path
    start: float | None
    end: float | None
    key: str
    sound: Span | None = None


class MediaError(Exception):
    """A file or span without usable sound or pictures; `failure` holds the status and the reason."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(status, reason)


def media_item(utterance: Utterance, pictures: bool = False, listens: bool = False) -> Item | Failure:
    """Return the item of an utterance for encoders of media: the hash of the file's content, the span, and its part.

    Args:
        utterance: a row of the table.
        pictures: whether the encoder reads pictures. The item then includes the part of the frame
            (pipeline/fragments.py), otherwise the channel of the sound.
        listens: whether an encoder of pictures also reads the sound. The item then includes the sound's file, span and
            channel, if the row names a file or a channel for the sound.
    """
    if not pictures:
        return _sound_item(utterance.heard)
    seen = _item(utterance.seen)
    if isinstance(seen, Failure):
        return seen
    cell = fragments.split(utterance.media)
    content = {**seen.content, "part": list(cell.box)} if cell.box else seen.content
    if not listens or not (utterance.audio or cell.channel):
        return Item(content, seen.source)
    heard = _sound_item(utterance.heard)
    if isinstance(heard, Failure):
        return heard
    return Item({**content, "sound": heard.content}, seen.source, sound=heard.source)


def checked_span(media: Path, cell: str, content: dict[str, Any]) -> Span:
    """Return the span that an item's content describes, after comparing the file with the item's hash.

    Args:
        media: the media root.
        cell: the file, relative to the media root, with its fragment.
        content: the content of an item of `media_item`, without the sound of another place.

    Raises:
        MediaError: `missing_file`, if the file cannot be read or has changed since the tables were prepared.
    """
    path = media / cell
    file = Path(fragments.split(str(path)).file)
    try:
        about = file.stat()
        same = content["media"] == _sha256(file, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise MediaError("missing_file", f"{cell}: cannot be read: {error.strerror}") from None
    if not same:
        raise MediaError("missing_file", f"{cell}: has changed since the tables were prepared")
    return Span(path, content["start"], content["end"], Item(content).key)


def _item(place: Source) -> Item | Failure:
    if not place.cell:
        return Failure("missing_file", "the utterance has no media file in the table")
    if not place.sha256:
        return Failure("missing_file", f"{place.cell}: did not exist when the tables were prepared")
    return Item({"media": place.sha256, "start": place.start, "end": place.end}, source=place.cell)


def _sound_item(place: Source) -> Item | Failure:
    item = _item(place)
    channel = fragments.split(place.cell).channel
    if isinstance(item, Failure) or not channel:
        return item
    return Item({**item.content, "channel": channel}, item.source)


@lru_cache(maxsize=1000)
def _sha256(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
