"""The page of turns in a real Chromium, offline, from file://: it plays, filters, takes labels and saves them.

Needs what test_report_browser.py needs.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluate.bars import bar, top
from evaluate.predict import __main__ as predict
from pipeline.corpora import csv as own
from pipeline.pages import turns
from pipeline.tables.schema import Utterance
from tests.evaluate.recording import SRT, make_model
from tests.evaluate.test_report_browser import browser, pytestmark
from tests.extract.make_clips import clip
from tests.extract.project import inline
from tests.pipeline.raw_folders import corpus

__all__ = ["browser", "pytestmark"]  # the fixture, and what skips

LABELS = ["joy", "anger", "neutral"]
# It does not really play, so that it is still where a click has put it whenever it is looked at.
STILL = """
window.really = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () { this.plays = (this.plays ?? 0) + 1; return Promise.resolve() };
"""
SAVED = """
const done = arguments[0], make = URL.createObjectURL;
URL.createObjectURL = (blob) => {
  blob.arrayBuffer().then((bytes) => done(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)));
  return make.call(URL, blob);
};
document.querySelector(".csv").click();
"""
PLAYING = """
const video = document.querySelector("video");
Object.defineProperty(video, "paused", { value: false, configurable: true });
video.currentTime = arguments[0];
document.querySelector(".find").elements.follow.checked = arguments[1];
"""
NOW = "return document.querySelector('.turn.now')?.dataset.utterance"
SPEAKERS = ("Ada", "Ben", '<b>"Cem"</b>')
LINES = ("We got the house!", "<script>alert(1)</script>", 'He said, "fine".', "Über alles\nsecond line")


def made(count: int, source: str = "talk.mp4", dialogues: int = 1, seconds: float = 1.0) -> list[turns.Turn]:
    """Turns of `seconds`, one after another; every fifth is left open, every seventh has a flag."""
    rng = np.random.default_rng(3)
    found = []
    for i in range(count):
        p = rng.dirichlet(np.ones(len(LABELS)))
        k = int(p.argmax())
        start = i * seconds
        utterance = Utterance(
            f"u{i}", f"d{i * dialogues // count}", i, SPEAKERS[i % 3], "", LINES[i % 4], "talk.mp4", start,
            start + seconds, "",
        )  # fmt: skip
        shares = [(LABELS[j], float(p[j])) for j in top(p)]
        found.append(
            turns.Turn(
                utterance, start, start + seconds, source,
                label="" if i % 5 == 4 else LABELS[k],
                guess=turns.Guess(k, float(p[k]), bar(p), shares),
                flags=("visual: no_face",) if i % 7 == 6 else (),
            )
        )  # fmt: skip
    return found


@pytest.fixture
def shown(browser, tmp_path):
    """Show a page of turns; the page must not complain, or ask for anything but its recordings."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.execute_cdp_cmd("Network.enable", {})
    still = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": STILL})

    def show(found: list[turns.Turn], step: bool = False) -> Path:
        clip(tmp_path / "talk.mp4", 4.0)
        path = tmp_path / "page.html"
        path.write_text(turns.render("talk", "lead", LABELS, found, ["a note"], step), encoding="utf-8")
        browser.get(path.as_uri())
        browser.execute_script("localStorage.clear()")
        browser.get(path.as_uri())
        wait(browser, lambda: browser.execute_script("return document.querySelector('video').readyState > 0"))
        return path

    yield show
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", still)
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    here = {u.rpartition("/")[2] for u in urls if not u.startswith(("data:", "blob:"))}
    assert here <= {"page.html", "talk.mp4", "annotations.csv"}
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def wait(browser, true) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda _: true())


def visible(browser) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('.turn')].filter(t => t.checkVisibility()).map(t => t.dataset.utterance)"
    )


def press(browser, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def selected(browser) -> str:
    return browser.execute_script("return document.querySelector('.turn.selected').dataset.utterance")


def choose(browser, name: str, value: str) -> None:
    browser.execute_script(
        "const field = document.querySelector('.find').elements[arguments[0]]; field.value = arguments[1];"
        "field.dispatchEvent(new Event('change', {bubbles: true}))",
        name,
        value,
    )


def saved(browser) -> list[dict[str, str]]:
    """The rows of the csv file that a click on Save would download."""
    text = browser.execute_async_script(SAVED)
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


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


def test_keys_label_turns_and_the_saved_csv_is_read_as_a_corpus(browser, shown, tmp_path):
    found = made(12)
    page = shown(found, step=True)
    press(browser, "1")
    assert selected(browser) == "u1"
    press(browser, "2", "\ue007", "0", "\ue015")  # anger; Enter: as it is; no label; arrow down
    assert selected(browser) == "u5"
    rows = saved(browser)
    label = [t.label for t in found]
    expected = ["joy", "anger", label[2], "", *label[4:]]
    assert [r["emotion"] for r in rows] == expected
    assert [r["labelled_by"] for r in rows] == [
        "person", "person", "person", "", *("model" if name else "" for name in label[4:])
    ]  # fmt: skip
    assert [r["model_label"] for r in rows] == label
    (tmp_path / "corpus").mkdir()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    # Without splits, a corpus needs three dialogues.
    writer.writerows({**row, "dialogue": f"d{i % 3}"} for i, row in enumerate(rows))
    (tmp_path / "corpus/annotations.csv").write_text("\ufeff" + text.getvalue(), encoding="utf-8", newline="")
    utterances, labels = own.read(tmp_path / "corpus", corpus("csv", tmp_path / "corpus", LABELS))
    said = {t.utterance.utterance: t.utterance for t in found}
    assert [said[name].text for name in utterances["utterance"]] == list(utterances["text"])
    assert [(said[name].start, said[name].end) for name in utterances["utterance"]] == list(
        zip(utterances["start"], utterances["end"], strict=True)
    )
    assert dict(zip(labels["utterance"], labels["emotion"], strict=True)) == {
        f"u{i}": name for i, name in enumerate(expected)
    }
    # The labels outlast the page.
    browser.get(page.as_uri())
    assert [r["emotion"] for r in saved(browser)] == expected
    choose(browser, "state", "changed")
    assert visible(browser) == ["u0", "u1", "u2", "u3"]
    browser.execute_script("window.confirm = () => true; document.querySelector('.undo').click()")
    assert [r["emotion"] for r in saved(browser)] == label


def test_playback_stops_at_the_end_of_a_turn_and_goes_on_with_a_key(browser, shown):
    shown(made(4, seconds=0.6), step=True)
    browser.execute_script("HTMLMediaElement.prototype.play = window.really")
    place = "const v = document.querySelector('video'); return [v.paused, v.currentTime]"
    for key, name, end in (("\ue013", "u0", 0.6), ("r", "u0", 0.6), ("\ue015", "u1", 1.2)):
        press(browser, key)
        assert selected(browser) == name
        if key != "\ue013":  # there is no turn above the first
            wait(browser, lambda e=end: browser.execute_script(place)[1] >= e)
            wait(browser, lambda: browser.execute_script(place)[0])
            assert end <= browser.execute_script(place)[1] < end + 0.2


def test_a_key_in_the_search_is_a_letter(browser, shown):
    shown(made(6))
    press(browser, "/", "1", "j", " ")
    assert browser.execute_script("return document.querySelector('[name=words]').value") == "1j "
    assert [r["labelled_by"] for r in saved(browser)].count("person") == 0


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


@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits_a_phone_and_a_desk(browser, shown, width):
    metrics = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
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


def test_predict_writes_a_page_whose_turns_are_found_by_a_click(browser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    make_model(tmp_path / "models/seed0")
    for name, seconds in (("a.mp4", 3.0), ("b.mp4", 2.0)):
        clip(tmp_path / name, seconds)
    (tmp_path / "talk.srt").write_text(SRT)
    (tmp_path / "spans.csv").write_text(
        "utterance,dialogue,turn,media,start,end\n"
        "u0,x,0,a.mp4,0,1\nu1,x,1,a.mp4,1.5,2.5\nu2,y,0,b.mp4,0.5,1.5\nu3,y,1,gone.mp4,,\n"
    )
    monkeypatch.setattr(sys, "argv", ["predict", "--csv", "spans.csv", "--to", "out"])
    predict.main()
    browser.get_log("browser")
    browser.get((tmp_path / "out/timeline.html").as_uri())
    state = (
        "const v = document.querySelector('video');"
        "return [v.getAttribute('src'), v.currentTime, document.querySelector('.trouble').hidden]"
    )
    for utterance, source, start in (("u1", "../a.mp4", 1.5), ("u2", "../b.mp4", 0.5), ("u0", "../a.mp4", 0)):
        button = f"document.querySelector('[data-utterance={utterance}] .go').click()"
        browser.execute_script(f"HTMLMediaElement.prototype.play = () => Promise.resolve(); {button}")
        wait(
            browser,
            lambda s=source, t=start: (
                browser.execute_script(state)[0] == s and abs(browser.execute_script(state)[1] - t) < 0.1
            ),
        )
        assert browser.execute_script(state)[2]
    browser.execute_script("document.querySelector('[data-utterance=u3] .go').click()")
    assert browser.execute_script(state)[0] == "../a.mp4"
    assert browser.get_log("browser") == []
