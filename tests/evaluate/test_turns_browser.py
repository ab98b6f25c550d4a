"""The page of turns in a real Chromium, offline, from file://: lanes, filters, playback, and its layout.

Needs what test_report_browser.py needs.
"""

from __future__ import annotations

import pytest

from tests.evaluate.test_report_browser import browser, pytestmark
from tests.evaluate.turns_page import (
    LABELS,
    NOW,
    PLAYING,
    SPEAKERS,
    choose,
    made,
    press,
    selected,
    shown,
    visible,
    wait,
)

__all__ = ["browser", "pytestmark", "shown"]  # the fixtures, and what skips


def test_there_is_a_lane_per_speaker_and_a_share_of_time_per_label(browser, shown):
    found = made(30, dialogues=2)
    shown(found)
    lanes = browser.execute_script(
        "return [...document.querySelectorAll('.lanes')].map(l => [...l.querySelectorAll('.lane')].map("
        "lane => [lane.previousElementSibling.textContent, lane.children.length]))"
    )
    assert lanes == [[[name, 5] for name in SPEAKERS]] * 2
    rows = browser.execute_script(
        "return [...document.querySelectorAll('.summary tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    for (name, count, time, shares), speaker in zip(rows, SPEAKERS, strict=True):
        assert (name, count, time) == (speaker, "10", "0:10")
        labels = [turn.label or "no label" for turn in found if turn.utterance.speaker == speaker]
        expected = [
            f"{label} {10 * labels.count(label)}%" for label in [*LABELS, "no label"] if label in labels
        ]
        assert shares == "".join(expected)


def test_search_and_filters_combine(browser, shown):
    found = made(40)
    shown(found)
    everything = [turn.utterance.utterance for turn in found]
    assert visible(browser) == everything
    press(browser, "/", "HOUSE")
    house = [t for t in found if "house" in t.utterance.text]
    wait(browser, lambda: visible(browser) == [t.utterance.utterance for t in house])
    choose(browser, "speaker", "Ada")
    hits = [t for t in house if t.utterance.speaker == "Ada"]
    assert visible(browser) == [t.utterance.utterance for t in hits]
    choose(browser, "label", hits[0].label)
    hits = [t for t in hits if t.label == hits[0].label]
    assert visible(browser) == [t.utterance.utterance for t in hits]
    assert browser.execute_script("return document.querySelector('output').textContent").startswith(
        f"{len(hits)} of 40"
    )
    browser.execute_script("document.querySelector('.find').reset()")
    wait(browser, lambda: visible(browser) == everything)
    choose(browser, "label", "")
    assert visible(browser) == [t.utterance.utterance for t in found if not t.label]
    choose(browser, "label", "*")
    choose(browser, "state", "flagged")
    assert visible(browser) == [t.utterance.utterance for t in found if t.flags]
    choose(browser, "state", "changed")
    assert visible(browser) == []
    assert browser.execute_script("return document.querySelector('.none-left').checkVisibility()")


def test_a_click_on_a_lane_scrolls_to_the_turn_and_plays_it(browser, shown):
    shown(made(200, seconds=0.02))
    block = browser.find_element("css selector", "[data-turn='150']")
    browser.execute_script("arguments[0].click()", block)
    assert selected(browser) == "u150"
    assert browser.execute_script("return document.querySelector('video').plays") == 1
    assert browser.execute_script("return document.querySelector('video').currentTime") == pytest.approx(3.0)
    wait(browser, lambda: browser.execute_script(
        "const r = document.querySelector('.turn.selected').getBoundingClientRect();"
        "const l = document.querySelector('.lanes').getBoundingClientRect();"
        "return r.top >= l.bottom - 1 && r.bottom <= innerHeight + 1"
    ))  # fmt: skip
    wait(browser, lambda: "now" in block.get_attribute("class"))


def test_the_list_follows_the_playback(browser, shown):
    shown(made(200, seconds=0.02))
    browser.execute_script(PLAYING, 2.505, True)
    wait(browser, lambda: selected(browser) == "u125")
    assert browser.execute_script("return scrollY") > 1000
    browser.execute_script(PLAYING, 0.105, False)
    wait(browser, lambda: browser.execute_script(NOW) == "u5")
    assert selected(browser) == "u125"


def test_two_thousand_turns_are_laid_out_only_where_they_are_seen(browser, shown):
    shown(made(2000, seconds=0.002))
    count = (
        "return [...document.querySelectorAll('.turn .go')].filter("
        "go => go.checkVisibility({contentVisibilityAuto: true})).length"
    )
    wait(browser, lambda: 0 < browser.execute_script(count) < 100)
    browser.execute_script("document.querySelectorAll('.turn')[1500].scrollIntoView()")
    wait(browser, lambda: 0 < browser.execute_script(count) < 200)
    press(browser, "/", "house")
    wait(browser, lambda: len(visible(browser)) == 500)


def size(browser, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits_a_phone_and_a_desk(browser, shown, width):
    size(browser, width, 740)
    shown(made(30, dialogues=2))
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) == 0
    browser.execute_script("document.querySelectorAll('.turn .go')[20].click()")
    # The selected turn, the player and the labels are in view together.
    for place in (".turn.selected", "video", ".choice button"):
        inside = (
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return r.top >= -1 && r.bottom <= innerHeight + 1 && r.left < innerWidth"
        )
        assert browser.execute_script(inside, place), place


@pytest.mark.parametrize("several", [False, True])
def test_the_first_turn_is_on_a_phones_first_screen(browser, shown, several):
    size(browser, 390, 844)
    shown(made(30), several=several)
    bottom = "return document.querySelector('.turn').getBoundingClientRect().bottom"
    assert browser.execute_script(bottom) <= 844
    folded = "return [...document.querySelectorAll('.find, .summary table')].map(e => e.checkVisibility())"
    assert browser.execute_script(folded) == [False, False]


def test_folded_filters_say_when_they_hide_turns(browser, shown):
    size(browser, 390, 844)
    shown(made(30))
    heading = browser.find_element("css selector", ".fold summary")
    assert heading.text == "Search and filters"
    heading.click()
    assert browser.find_element("css selector", ".find").is_displayed()
    choose(browser, "speaker", "Ada")
    heading.click()
    assert not browser.find_element("css selector", ".find").is_displayed()
    assert heading.text == "Search and filters (10 of 30 turns)"
    press(browser, "\ue00c", "/")  # Esc leaves the heading
    assert browser.find_element("css selector", ".find").is_displayed()
    press(browser, "\ue00c")
    heading.click()
    size(browser, 1400, 844)
    wait(browser, lambda: browser.find_element("css selector", ".find").is_displayed())
    assert not heading.is_displayed(), "a wide screen has no fold"


def test_all_turns_are_printed(browser, shown):
    shown(made(300))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    count = (
        "return [...document.querySelectorAll('.turn .go')].filter("
        "go => go.checkVisibility({contentVisibilityAuto: true})).length"
    )
    wait(browser, lambda: browser.execute_script(count) == 300)
    assert not browser.execute_script("return document.querySelector('.panel').checkVisibility()")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
