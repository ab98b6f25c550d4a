"""What the encoders of sound and pictures share: a clip that cannot be read is a failure with a reason."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, TypeVar

from extract.contract import Encoder, Failure, Item
from extract.reading.media import MediaError, MediaParams, source

P = TypeVar("P", bound=MediaParams)


class MediaEncoder(Encoder[P]):
    """An encoder whose items are spans of media files."""

    def read(self, item: Item) -> Any | Failure:
        """Decode the item's span."""
        try:
            path = source(self.media, item)
            return self.decode(path, item.content["start"], item.content["end"])
        except MediaError as error:
            return error.failure

    @abstractmethod
    def decode(self, path: Path, start: float | None, end: float | None) -> Any | Failure:
        """Return what `encode` takes of a file from `start` to `end` in seconds; None: its beginning, its end.

        Raises:
            MediaError: the span gives no sound or pictures.
        """
