"""Labels on the page of turns, in a real Chromium from file://: keys give them, and a csv keeps them.

Needs what test_report_browser.py needs.
"""

from __future__ import annotations

import csv
import io
import sys

from evaluate.predict import __main__ as predict
from pipeline.corpora import csv as own
from tests.evaluate.recording import SRT, make_model
from tests.evaluate.test_report_browser import browser, pytestmark
from tests.evaluate.turns_page import LABELS, choose, made, press, saved, selected, shown, visible, wait
from tests.extract.make_clips import clip
from tests.extract.project import inline
from tests.pipeline.raw_folders import corpus

__all__ = ["browser", "pytestmark", "shown"]  # the fixtures, and what skips


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
