"""What a `media` cell may name: a recording, or the part of its picture in `FILE#xywh=percent:X,Y,W,H`.

Two people filmed side by side share a file; the fragment says whose half it is. The spelling is that of W3C's
Media Fragments URI 1.0, section 4.2.2, in percent, so that it does not depend on the video's resolution.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# An `.mp4` may really be a playlist or a text file; FFmpeg would follow the first and draw the second.
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
        """(rows, columns) that cut this part out of a [height, width, …] picture."""
        left, right = (round(width * edge / 100) for edge in (self.x, self.x + self.width))
        top, bottom = (round(height * edge / 100) for edge in (self.y, self.y + self.height))
        return slice(top, bottom), slice(left, right)


LEFT, RIGHT = Box(0, 0, 50, 100), Box(50, 0, 50, 100)


def join(file: str, box: Box) -> str:
    """The `media` cell for a part of a file's picture."""
    return f"{file}#xywh=percent:{box.x},{box.y},{box.width},{box.height}"


def split(media: str) -> tuple[str, Box | None]:
    """(file, part of the picture) of a `media` cell; None: the whole picture.

    A cell whose fragment is no part of a picture (100 percent are exceeded, or nothing is left) is a file name.
    """
    if match := _FRAGMENT.search(media):
        box = Box(*map(int, match.groups()))
        if box.width and box.height and box.x + box.width <= 100 and box.y + box.height <= 100:
            return media[: match.start()], box
    return media, None
