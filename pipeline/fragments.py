"""Parse `media` and `audio` cells: a file and, after `#`, the part of it that belongs to the utterance.

    talk.mp4#xywh=percent:0,0,50,100                  the left half of the picture
    talk.mp4#xywh=percent:0,0,50,100&channel=left     the same, and the left channel of the sound
    room.wav#channel=3                                the third channel; channels are counted from 1
    anna.wav#t=12.5,14                                from second 12.5 to second 14; only in `audio`
    anna_004.wav#t=0                                  the whole file; only in `audio`

The syntax is that of W3C's Media Fragments URI 1.0, sections 4.2.1 (`t`) and 4.2.2 (`xywh`). A box is in percent, so
that it does not depend on the video's resolution. `channel` is an addition, because the standard has no name for it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.names import is_inside

# A file named `.mp4` may be a playlist, which FFmpeg would follow, or a text file, which it would draw.
FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,flv,asf,h264,hevc,mpegvideo,"
    "wav,w64,flac,mp3,ogg,aac,aiff,au,caf,nistsphere,amr"
)
NAMES = ("xywh", "channel", "t")
SIDES = ("left", "right")
_BOX = re.compile("percent:([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})")
_CHANNEL = re.compile("left|right|[1-9][0-9]{0,2}")
_SECONDS = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_SPAN = re.compile(rf"({_SECONDS})(?:,({_SECONDS}))?")


class Box(NamedTuple):
    """A part of a picture, in percent of its width and height from the top left corner."""

    x: int
    y: int
    width: int
    height: int

    def pixels(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the slices (rows, columns) that cut this part from a picture [height, width, …]."""
        left, right = (round(width * edge / 100) for edge in (self.x, self.x + self.width))
        top, bottom = (round(height * edge / 100) for edge in (self.y, self.y + self.height))
        return slice(top, bottom), slice(left, right)


LEFT, RIGHT = Box(0, 0, 50, 100), Box(50, 0, 50, 100)


class Cell(NamedTuple):
    """A `media` or `audio` cell.

    Attributes:
        file: the file, relative to the media root.
        box: the part of the picture; None for the whole picture.
        channel: `left`, `right`, or a number from 1; None for the mix of all channels.
        span: (start, end) in seconds, None for the file's start or end; None if the cell has no `t`.
    """

    file: str
    box: Box | None = None
    channel: str | None = None
    span: tuple[float | None, float | None] | None = None


def join(file: str, box: Box | None = None, channel: str | None = None) -> str:
    """Return the cell for a part of a file's picture and for one channel of its sound."""
    parts = []
    if box is not None:
        parts.append(f"xywh=percent:{box.x},{box.y},{box.width},{box.height}")
    if channel is not None:
        parts.append(f"channel={channel}")
    return f"{file}#{'&'.join(parts)}" if parts else file


def split(cell: str) -> Cell:
    """Split a cell into its file and its fragment.

    What follows the last `#` is part of the file's name, unless one of its parts begins with a name in `NAMES`.

    Raises:
        ValueError: if the fragment is malformed; the message says how.
    """
    file, _, fragment = cell.rpartition("#")
    parts = [part.partition("=") for part in fragment.split("&")]
    if not file or "/" in fragment or not any(equals and name in NAMES for name, equals, _ in parts):
        return Cell(cell)
    found = Cell(file)
    names = [name for name, _, _ in parts]
    for name, _, value in parts:
        if name not in NAMES or names.count(name) > 1:
            raise ValueError(f"after #, write each of {', '.join(NAMES)} at most once, joined by &")
        if name == "xywh":
            found = found._replace(box=_box(value))
        elif name == "channel":
            found = found._replace(channel=_channel(value))
        else:
            found = found._replace(span=_span(value))
    return found


def mistake(cell: str, field: str) -> str:
    """Return what is wrong with a cell of the column `field` (`media` or `audio`); empty if nothing is."""
    if not is_inside(cell):
        return "must be a relative path that stays inside corpus.root"
    try:
        found = split(cell)
    except ValueError as error:
        return str(error)
    if field == "media" and found.span:
        return "has a t=; give the utterance's seconds in `start` and `end`"
    if field == "audio" and found.box:
        return "has an xywh=, which is for pictures; move it to `media`"
    return ""


def position(channel: str, count: int) -> int | None:
    """Return the index of a channel among `count` channels; None if there is no such channel.

    A single channel is neither left nor right.
    """
    if channel in SIDES:
        return SIDES.index(channel) if count > 1 else None
    return int(channel) - 1 if int(channel) <= count else None


def _box(value: str) -> Box:
    if match := _BOX.fullmatch(value):
        box = Box(*map(int, match.groups()))
        if box.width and box.height and box.x + box.width <= 100 and box.y + box.height <= 100:
            return box
    raise ValueError(
        f"xywh={value}: must be percent:X,Y,WIDTH,HEIGHT, in whole percents and inside the picture"
    )


def _channel(value: str) -> str:
    if not _CHANNEL.fullmatch(value):
        raise ValueError(f"channel={value}: must be left, right, or a number from 1")
    return value


def _span(value: str) -> tuple[float | None, float | None]:
    if match := _SPAN.fullmatch(value):
        start, end = float(match[1]), float(match[2]) if match[2] else None
        if end is None or start < end:
            return start or None, end
    raise ValueError(f"t={value}: must be START or START,END in seconds, END after START")
