"""Pictures were read as they are stored: faces of IEMOCAP, whose clips have pixels of 9:16, were 1.8 times too wide."""

from __future__ import annotations

import base64
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from extract.reading.pictures import EvenFrames, iter_frames
from pipeline.pages.convert import convert, stills
from tests.known_issues.test_pictures_on_screen import quarters, write

HEIGHT, WIDTH = 96, 128


def clip(path: Path, pixel: Fraction) -> Path:
    """Write three pictures of `quarters`, stored as WIDTH × HEIGHT, whose pixels have this shape."""
    return write(path, [(k / 25, quarters(HEIGHT, WIDTH)) for k in range(3)], crf="5", aspect=str(pixel))


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
@pytest.mark.parametrize(("pixel", "width"), [("9/16", 72), ("1", 128), ("16/15", 137), ("4", 512)])
def test_a_picture_has_the_shape_that_a_player_shows(tmp_path, kind, pixel, width):
    path = clip(tmp_path / f"a.{kind}", Fraction(pixel))
    for frames in (iter_frames(path, None, None), EvenFrames(path, None, None, 1)):
        picture = next(iter(frames))[1]
        assert picture.shape == (HEIGHT, width, 3)
        assert np.abs(picture.astype(int) - quarters(HEIGHT, width)).mean() < 5


def test_a_part_is_of_the_picture_shown(tmp_path):
    path = clip(tmp_path / "a.mp4", Fraction(9, 16))
    picture = next(iter_frames(Path(f"{path}#xywh=percent:0,0,50,100"), None, None))[1]
    assert picture.shape == (HEIGHT, 36, 3)
    assert picture[:40, :30, 0].min() > 200


def test_pixels_are_made_square_before_a_turn(tmp_path):
    path = clip(tmp_path / "a.mp4", Fraction(9, 16))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *(n << 16 for n in (0, 1, 0, -1, 0, 0, 0, 0, 0)))
    path.write_bytes(data)
    assert next(iter_frames(path, None, None))[1].shape == (72, HEIGHT, 3)
    assert still(path).shape == (72, HEIGHT, 3)


@pytest.mark.parametrize("pixel", ["1/100", "10"])
def test_an_implausible_shape_is_left(tmp_path, pixel):
    path = clip(tmp_path / "a.mkv", Fraction(pixel))
    assert next(iter_frames(path, None, None))[1].shape == (HEIGHT, WIDTH, 3)


def test_copies_and_stills_of_a_page_have_this_shape(tmp_path):
    path = clip(tmp_path / "a.mkv", Fraction(9, 16))
    convert(path, tmp_path / "copy.mp4", "a")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (72, HEIGHT)
        assert stream.sample_aspect_ratio in (None, 1)
    assert still(path).shape == (HEIGHT, 72, 3)


def still(path: Path) -> np.ndarray:
    _, _, data = stills(path, {"a": 0.0})["a"].partition("base64,")
    found = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found
