"""Base class of the encoders of sound and pictures: reading an unusable clip returns a failure with a reason."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeVar

from typing_extensions import override

from extract.contract import Encoder, Failure, Item
from extract.reading.media import MediaError, MediaParams, Span, source

P = TypeVar("P", bound=MediaParams)


class MediaEncoder(Encoder[P]):
    """An encoder whose items are spans of media files."""

    @override
    def read(self, item: Item) -> Any | Failure:
        try:
            return self.decode(self.span(item))
        except MediaError as error:
            return error.failure

    def span(self, item: Item) -> Span:
        """Return the span of the media file that an item names.

        Raises:
            MediaError: the file is missing, or not the one that was prepared.
        """
        path = source(self.media, item)
        return Span(path, item.content["start"], item.content["end"], item.key)

    @abstractmethod
    def decode(self, span: Span) -> Any | Failure:
        """Return the input of `encode` for the span.

        Raises:
            MediaError: the span has no usable sound or pictures.
        """
