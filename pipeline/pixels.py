"""The shape of a video's pixels, which television and cropped videos store wider or narrower than square."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

# A shape beyond these is a mistake in the file.
NARROWEST, WIDEST = Fraction(1, 4), Fraction(4)


def aspect(stream: Any) -> Fraction:
    """Return the width of a video stream's pixels divided by their height; 1 if the file states no plausible one."""
    found = stream.sample_aspect_ratio
    return found if found and NARROWEST <= found <= WIDEST else Fraction(1)
