"""Parts of a file in `media` and `audio` cells, in the syntax of W3C's Media Fragments."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline import fragments
from pipeline.closure import ROOT
from pipeline.fragments import Box, Cell
from pipeline.names import is_inside


def test_halves_of_a_picture():
    picture = np.arange(4 * 7).reshape(4, 7)
    left, right = picture[fragments.LEFT.pixels(4, 7)], picture[fragments.RIGHT.pixels(4, 7)]
    assert left.shape == (4, 4)
    np.testing.assert_array_equal(np.hstack([left, right]), picture)


@pytest.mark.parametrize(
    ("box", "channel", "fragment"),
    [
        (fragments.RIGHT, None, "#xywh=percent:50,0,50,100"),
        (None, "left", "#channel=left"),
        (fragments.RIGHT, "2", "#xywh=percent:50,0,50,100&channel=2"),
        (None, None, ""),
    ],
)
def test_join_and_split(box, channel, fragment):
    cell = fragments.join("a b/c#1.avi", box, channel)
    assert cell == f"a b/c#1.avi{fragment}"
    assert fragments.split(cell) == Cell("a b/c#1.avi", box, channel)
    assert is_inside(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a.wav#t=12.5,14", Cell("a.wav", span=(12.5, 14.0))),
        ("a.wav#t=3", Cell("a.wav", span=(3.0, None))),
        ("a.wav#t=0", Cell("a.wav", span=(None, None))),
        ("a.wav#t=0,2", Cell("a.wav", span=(None, 2.0))),
        ("a.wav#channel=3&t=0", Cell("a.wav", channel="3", span=(None, None))),
        ("a#b.avi#channel=right&xywh=percent:0,0,50,100", Cell("a#b.avi", fragments.LEFT, "right")),
        ("a.avi#xywh=percent:25,10,50,90", Cell("a.avi", Box(25, 10, 50, 90))),
    ],
)
def test_fragments(cell, expected):
    assert fragments.split(cell) == expected


@pytest.mark.parametrize(
    "cell", ["a.avi", "", "#t=1,2", "a#1.avi", "take#t/b.wav", "a#t=1/b.wav", "a#title=1"]
)
def test_anything_else_is_a_file_name(cell):
    assert fragments.split(cell) == Cell(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a.avi#xywh=percent:60,0,50,100", "xywh=percent:60,0,50,100: must be percent:X,Y,WIDTH,HEIGHT"),
        ("a.avi#xywh=percent:0,0,0,100", "inside the picture"),
        ("a.avi#xywh=0,0,10,10", "in whole percents"),
        ("a.avi#xywh=percent:٠,0,50,100", "in whole percents"),
        ("a.wav#channel=", "channel=: must be left, right, or a number from 1"),
        ("a.wav#channel=0", "channel=0: must be left, right, or a number from 1"),
        ("a.wav#channel=Left", "channel=Left: must be left"),
        ("a.wav#channel=-1", "a number from 1"),
        ("a.wav#channel=1000", "a number from 1"),
        ("a.wav#t=", "t=: must be START or START,END in seconds"),
        ("a.wav#t=2,2", "END after START"),
        ("a.wav#t=,2", "must be START or START,END"),
        ("a.wav#t=nan", "must be START or START,END"),
        ("a.wav#t=00:01:00", "must be START or START,END"),
        ("a.wav#t=1.wav", "must be START or START,END"),
        ("a.wav#channel=left&channel=right", "write each of xywh, channel, t at most once"),
        ("a.wav#channel=left&track=2", "write each of xywh, channel, t at most once"),
        ("a.wav#channel=left&", "write each of xywh, channel, t at most once"),
    ],
)
def test_malformed_fragments_are_mistakes(cell, expected):
    with pytest.raises(ValueError, match=r".") as caught:
        fragments.split(cell)
    assert expected in str(caught.value)
    assert expected in fragments.mistake(cell, "audio")


def test_each_column_has_its_own_parts():
    assert fragments.mistake("a.avi#xywh=percent:0,0,50,100&channel=left", "media") == ""
    assert fragments.mistake("a.wav#channel=left&t=1,2", "audio") == ""
    assert "`start` and `end`" in fragments.mistake("a.avi#t=1,2", "media")
    assert "move it to `media`" in fragments.mistake("a.wav#xywh=percent:0,0,50,100", "audio")
    assert "inside corpus.root" in fragments.mistake("../a.wav#channel=left", "audio")


@pytest.mark.parametrize(
    ("channel", "count", "expected"),
    [
        ("left", 2, 0),
        ("right", 2, 1),
        ("right", 6, 1),
        ("left", 1, None),
        ("right", 1, None),
        ("1", 1, 0),
        ("6", 6, 5),
        ("3", 2, None),
    ],
)
def test_the_position_of_a_channel(channel, count, expected):
    assert fragments.position(channel, count) == expected


def test_the_examples_of_the_guide_are_valid():
    guide = (ROOT / "docs/how-to/own-data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]* \| `([^`|]*\.[^`|]*)` \| (?:`([^`|]*)` )?\|$", guide, re.MULTILINE)
    assert len(rows) == 7
    for media, audio in rows:
        assert fragments.mistake(media, "media") == fragments.mistake(audio, "audio") == ""
        assert [cell for cell in (media, audio) if "#" in fragments.split(cell).file] == []
