"""Base class of the encoders of sound and pictures: reading an unusable clip returns a failure with a reason."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeVar

from typing_extensions import override

from extract.contract import Encoder, Failure, Item
from extract.reading.media import MediaError, MediaParams, Span, checked_span

P = TypeVar("P", bound=MediaParams)


def without_sound(item: Item) -> Item:
    """Return an item without the sound of another place, so that all streams of the same pictures have the same key."""
    return Item({name: value for name, value in item.content.items() if name != "sound"}, item.source)


class MediaEncoder(Encoder[P]):
    """An encoder whose items are spans of media files."""

    @override
    def read(self, item: Item) -> Any | Failure:
        try:
            return self.decode(self.span(item))
        except MediaError as error:
            return error.failure

    def span(self, item: Item) -> Span:
        """Return the span that an item describes.

        Raises:
            MediaError: `missing_file`, if a file cannot be read or has changed since the tables were prepared.
        """
        span = checked_span(self.media, item.source, without_sound(item).content)
        if "sound" not in item.content:
            return span
        return span._replace(sound=checked_span(self.media, item.sound, item.content["sound"]))

    @abstractmethod
    def decode(self, span: Span) -> Any | Failure:
        """Return the input of `encode` for the span.

        Raises:
            MediaError: the span has no usable sound or pictures.
        """
