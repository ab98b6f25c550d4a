"""A part of the picture, spelled as in W3C's Media Fragments."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import fragments
from pipeline.names import is_inside


def test_halves_of_a_picture():
    picture = np.arange(4 * 7).reshape(4, 7)
    left, right = picture[fragments.LEFT.pixels(4, 7)], picture[fragments.RIGHT.pixels(4, 7)]
    assert left.shape == (4, 4)
    np.testing.assert_array_equal(np.hstack([left, right]), picture)


def test_join_and_split():
    cell = fragments.join("a b/c#1.avi", fragments.RIGHT)
    assert cell == "a b/c#1.avi#xywh=percent:50,0,50,100"
    assert fragments.split(cell) == ("a b/c#1.avi", fragments.Box(50, 0, 50, 100))
    assert is_inside(cell)


@pytest.mark.parametrize(
    "cell",
    [
        "a.avi",
        "",
        "a.avi#xywh=percent:60,0,50,100",
        "a.avi#xywh=percent:0,0,0,100",
        "a.avi#xywh=0,0,10,10",
        "#t=1,2",
    ],
)
def test_anything_else_is_a_file_name(cell):
    assert fragments.split(cell) == (cell, None)
