"""The timeline in a real Chromium, offline: a click on a turn finds its place in the recording.

Needs what test_report_browser.py needs.
"""

from __future__ import annotations

import json
import sys

from evaluate.predict import __main__ as predict
from tests.evaluate.recording import SRT, make_model
from tests.evaluate.test_report_browser import browser, pytestmark
from tests.extract.make_clips import clip
from tests.extract.project import inline

__all__ = ["browser", "pytestmark"]  # the fixture, and what skips


def test_a_turn_is_found_by_a_click(browser, tmp_path, monkeypatch):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

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
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.get((tmp_path / "out/timeline.html").as_uri())
    # It does not really play, so that it is still where the click has put it whenever it is looked at.
    browser.execute_script(
        "window.played = 0; HTMLMediaElement.prototype.play = () => { window.played++; return Promise.resolve() }"
    )

    def state() -> list:
        script = (
            "const v = document.querySelector('video');"
            "return [v.getAttribute('src'), v.currentTime, document.querySelector('.trouble').hidden]"
        )
        return browser.execute_script(script)

    for utterance, source, start in (("u1", "../a.mp4", 1.5), ("u2", "../b.mp4", 0.5), ("u0", "../a.mp4", 0)):
        button = browser.find_element(By.CSS_SELECTOR, f"[data-utterance={utterance}]")
        browser.execute_script("arguments[0].scrollIntoView({block: 'end'})", button)
        button.click()
        WebDriverWait(browser, 60).until(
            lambda _, s=source, t=start: state()[0] == s and abs(state()[1] - t) < 0.1
        )
        WebDriverWait(browser, 60).until(lambda _, b=button: "now" in b.get_attribute("class"))
        assert state()[2]
    assert browser.execute_script("return window.played") == 3
    browser.find_element(By.CSS_SELECTOR, "[data-utterance=u3]").click()
    assert state()[0] == "../a.mp4"
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    assert {u.rpartition("/")[2] for u in urls if not u.startswith("data:")} == {
        "timeline.html",
        "a.mp4",
        "b.mp4",
    }
