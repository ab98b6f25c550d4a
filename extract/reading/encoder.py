"""Base class of the encoders of sound and pictures: reading an unusable clip returns a failure with a reason."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import override

from extract.contract import Encoder, Failure, Item
from extract.reading.media import MediaError, MediaParams, source

P = TypeVar("P", bound=MediaParams)


class MediaEncoder(Encoder[P]):
    """An encoder whose items are spans of media files."""

    @override
    def read(self, item: Item) -> Any | Failure:
        try:
            path = source(self.media, item)
            return self.decode(path, item.content["start"], item.content["end"])
        except MediaError as error:
            return error.failure

    @abstractmethod
    def decode(self, path: Path, start: float | None, end: float | None) -> Any | Failure:
        """Return the input of `encode` for the span of a file from `start` to `end` in seconds.

        None means the file's start or end.

        Raises:
            MediaError: the span has no usable sound or pictures.
        """
