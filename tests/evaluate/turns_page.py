"""A page of turns in a real Chromium: made-up turns, and what a person does with them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from evaluate.bars import bar, top
from pipeline.pages import turns
from pipeline.tables.schema import Utterance
from tests.extract.make_clips import clip

LEAD = (
    "Emotions by multiemo, trained on demo. Each label is a model's prediction for one turn, not a person's."
)
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
                guess=turns.Guess(LABELS[k], float(p[k]), bar(p), shares),
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

    def show(found: list[turns.Turn], step: bool = False, several: bool = False) -> Path:
        clip(tmp_path / "talk.mp4", 4.0)
        path = tmp_path / "page.html"
        labels = [] if found[0].numbers else LABELS
        path.write_text(
            turns.render("talk", LEAD, labels, found, ["a note"], step, several), encoding="utf-8"
        )
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
