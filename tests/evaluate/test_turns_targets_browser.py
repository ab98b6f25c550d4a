"""The page of turns for several labels and for values, in a real Chromium from file://.

Needs what test_report_browser.py needs.
"""

from __future__ import annotations

import dataclasses

from tests.evaluate.test_report_browser import browser, pytestmark
from tests.evaluate.turns_page import LABELS, choose, made, press, saved, selected, shown, visible

__all__ = ["browser", "pytestmark", "shown"]  # the fixtures, and what skips
CHIPS = (
    "return [...document.querySelectorAll('.turn')].map(t => [...t.querySelectorAll('.label .emotion')]"
    ".map(e => e.textContent))"
)


def test_a_turn_may_have_several_labels(browser, shown):
    given = ["joy|anger", "", "neutral", "joy"]
    found = [dataclasses.replace(turn, label=given[i % 4]) for i, turn in enumerate(made(8))]
    shown(found, step=True, several=True)
    assert browser.execute_script(CHIPS) == [["joy", "anger"], [], ["neutral"], ["joy"]] * 2
    choose(browser, "label", "joy")
    assert visible(browser) == ["u0", "u3", "u4", "u7"]
    choose(browser, "label", "")
    assert visible(browser) == ["u1", "u5"]
    choose(browser, "label", "*")
    press(browser, "1", "3")  # removes joy, adds neutral
    assert selected(browser) == "u0", "a turn takes further labels until Enter"
    press(browser, "\ue007", "2", "1")
    assert selected(browser) == "u1"
    pressed = "return [...document.querySelectorAll('.choice [aria-pressed=true]')].map(b => b.dataset.label)"
    assert browser.execute_script(pressed) == ["joy", "anger"]
    assert [row["emotion"] for row in saved(browser)] == ["anger|neutral", "joy|anger", *given[2:], *given]
    assert [row["labelled_by"] for row in saved(browser)][:3] == ["person", "person", "model"]
    shares = browser.execute_script(
        "return [...document.querySelectorAll('.summary tbody tr')].map(r => r.cells[3].textContent)"
    )
    # Speaker of the turns 0, 3 and 6: anger and neutral, joy, neutral.
    assert shares[0] == "joy 33%anger 33%neutral 67%"


def test_values_are_curves_and_take_no_label(browser, shown):
    numbers = [{"valence": float(i % 5), "arousal": -1.0} for i in range(30)]
    found = [
        dataclasses.replace(turn, label="", guess=None, numbers=n)
        for turn, n in zip(made(30), numbers, strict=True)
    ]
    shown(found)
    curves = browser.execute_script(
        "return [...document.querySelectorAll('.lane')].map(lane => [...lane.querySelectorAll('polyline')].map("
        "line => [...line.points].map(p => [p.x, p.y])))"
    )
    assert [[len(points) for points in lane] for lane in curves] == [[20, 20]] * 3
    valence, arousal = curves[0]
    # Turns 0, 3, 6 of 30 have valence 0, 3, 1, drawn from 0 (bottom) to 4 (top).
    assert [round(y, 1) for _, y in valence[:6]] == [100, 100, 25, 25, 75, 75]
    assert [round(x, 1) for x, _ in valence[:4]] == [0, 3.3, 10, 13.3]
    assert {y for _, y in arousal} == {50}
    rows = browser.execute_script(
        "return [...document.querySelectorAll('.means tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    assert [row[1:] for row in rows] == [["10", "2.00", "-1.00"]] * 3
    answer = browser.find_element("css selector", "[data-utterance=u3] .answer").text
    assert answer == "valence 3.00, arousal -1.00"
    press(browser, "1", "0", "\ue007")
    hidden = (
        "return [...document.querySelectorAll('.choice, .save, [name=label]')].map(e => e.checkVisibility())"
    )
    assert browser.execute_script(hidden) == [False] * 3
    assert [row["emotion"] for row in saved(browser)] == [""] * 30
    choose(browser, "speaker", "Ada")
    assert visible(browser) == [f"u{i}" for i in range(0, 30, 3)]
    assert LABELS[0] not in browser.find_element("tag name", "main").text
