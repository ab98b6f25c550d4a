"""The page of turns: places on the lanes, hostile text, and equal pages for equal turns."""

from __future__ import annotations

import re

import pytest

from pipeline.pages import turns
from pipeline.tables.schema import Utterance
from tests.evaluate.test_report import HOSTILE, Page


def turn(number: int, speaker: str, start: float | None, end: float | None, **more) -> turns.Turn:
    utterance = Utterance(f"u{number}", "talk", number, speaker, "", "Hello.", "a.mp4", start, end, "")
    return turns.Turn(utterance, start or 0.0, end, source=more.pop("source", "a.mp4"), **more)


def page(found: list[turns.Turn], labels=("joy", "anger")) -> Page:
    return Page(turns.render("talks", "lead", list(labels), found, [], step=False))


def places(shown: Page) -> list[tuple[float, float]]:
    styles = [e["style"] for e in shown.all("button") if "data-turn" in e]
    found = [re.findall(r"(?:left|width):([0-9.]+)%", style) for style in styles]
    return [(float(left), float(width)) for left, width in found]


def test_turns_of_one_file_lie_at_their_times():
    shown = page([turn(0, "Ada", 60, 70), turn(1, "Ben", 70, 90), turn(2, "Ada", 85, 100)])
    assert places(shown) == [(0, 25), (62.5, 37.5), (25, 50)]  # lane by lane
    assert [e["text"] for e in shown.all("span", class_="who")] == ["Ada", "Ben"]
    [axis] = shown.all("div", class_="axis")
    assert axis["text"] == "1:001:051:101:151:201:251:301:35"


def test_turns_of_several_files_follow_one_another():
    found = [turn(0, "Ada", 5, 6), turn(1, "Ada", 0, 3, source="b.mp4")]
    shown = page(found)
    assert places(shown) == [(0, 25), (25, 75)]
    assert not shown.all("div", class_="axis")


@pytest.mark.parametrize(("whole", "marks"), [(1.0, 2), (30.0, 7), (5000.0, 9), (90_000.0, 13)])
def test_an_axis_has_a_few_round_times(whole, marks):
    found = turns._marks(0.0, whole)
    assert len(found) <= marks
    assert all(at % 1 == 0 for at in found)


def test_hostile_text_stays_text():
    found = [
        turns.Turn(
            Utterance(text, text, i, text, "", text, text, 0.0, 1.0, ""), 0.0, 1.0, "a.mp4", label=HOSTILE[0],
            more={"split": text}, flags=(text,),
        )
        for i, text in enumerate(HOSTILE)
    ]  # fmt: skip
    shown = Page(turns.render(HOSTILE[0], HOSTILE[1], list(HOSTILE), found, [HOSTILE[2]], step=False))
    assert len(shown.all("script")) == 2
    assert not shown.all("img")
    assert not [e for e in shown.elements if any(key.startswith("on") for key in e)]
    assert [e["data-utterance"] for e in shown.all("li", class_="turn")] == list(HOSTILE)


def test_equal_turns_give_an_equal_page():
    found = [turn(0, "Ada", 0, 1)]
    made = {turns.render("t", "", ["joy"], found, [], step=True) for _ in range(2)}
    assert len(made) == 1
