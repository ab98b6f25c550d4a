"""Parse `media` cells: a recording, or a part of its picture as `FILE#xywh=percent:X,Y,W,H`.

If two people are filmed side by side, the fragment selects the speaker's half. The syntax is that of W3C's Media
Fragments URI 1.0, section 4.2.2, in percent, so that it does not depend on the video's resolution.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# A file named `.mp4` may be a playlist, which FFmpeg would follow, or a text file, which it would draw.
FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,flv,asf,h264,hevc,mpegvideo,"
    "wav,w64,flac,mp3,ogg,aac,aiff,au,caf,nistsphere,amr"
)
_FRAGMENT = re.compile(r"#xywh=percent:(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})$")


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


def join(file: str, box: Box) -> str:
    """Return the `media` cell for a part of a file's picture."""
    return f"{file}#xywh=percent:{box.x},{box.y},{box.width},{box.height}"


def split(media: str) -> tuple[str, Box | None]:
    """Split a `media` cell into (file, part of the picture); the part is None for the whole picture.

    A fragment that exceeds 100 percent or is empty is part of the file's name.
    """
    if match := _FRAGMENT.search(media):
        box = Box(*map(int, match.groups()))
        if box.width and box.height and box.x + box.width <= 100 and box.y + box.height <= 100:
            return media[: match.start()], box
    return media, None
