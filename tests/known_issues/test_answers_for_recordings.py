"""Files that the answers for new recordings lost, or gave too late: two recordings of one name wrote the same .srt, an
overwritten source was noticed when all was extracted, and turns without times lay on top of each other.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evaluate.predict import __main__ as predict
from evaluate.predict import timeline
from evaluate.predict.answers import Answers, subtitle_names, subtitles, table
from evaluate.predict.source import Recordings
from pipeline.errors import UserError
from pipeline.pages import turns
from pipeline.pages.playable import Shown
from pipeline.probe import Probe
from pipeline.tables.schema import Utterance
from tests.evaluate.test_report import Page
from tests.train.goals import single


def recordings(folder: Path, *media: str, end: float | None = 2.0) -> Recordings:
    said = [
        Utterance(f"u{i}", "talk", i, "", "", "Hello.", name, None, end, "") for i, name in enumerate(media)
    ]
    return Recordings(said, folder, {name: Probe(4.0, None, "") for name in media})


def test_every_recording_has_subtitles_of_its_own(tmp_path, monkeypatch):
    media = ("talk.mp4", "talk.wav", "a/b.mp4", "a_b.mp4", "a_b/mp4.mkv", "a_b.mkv", "talk.mp4")
    found = recordings(tmp_path, *media)
    names = subtitle_names(found)
    assert names["talk.mp4"] == "talk.emotion.srt"
    assert names["talk.wav"] == "talk.wav.emotion.srt"
    assert names["a/b.mp4"] == "a_b.emotion.srt"
    assert len(set(names.values())) == len(names) == 6
    monkeypatch.setattr(timeline, "render", lambda *_: "")
    predict.write(Answers(found, ["joy"], np.ones((7, 1)), {}), None, tmp_path / "out", as_stills=False)
    assert {p.name for p in (tmp_path / "out").glob("*.srt")} == set(names.values())


def test_nothing_is_extracted_for_answers_that_would_overwrite_their_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = recordings(tmp_path, "talk.mp4")
    model = SimpleNamespace(goal=single([1, 1]), warnings=[])
    monkeypatch.setattr("evaluate.predict.trained.open_model", lambda *_: model)
    monkeypatch.setattr("evaluate.predict.source.from_csv", lambda *_: found)
    monkeypatch.setattr(predict, "answer", lambda *_: pytest.fail("extracted"))
    (tmp_path / "predictions.csv").write_text("utterance,dialogue,turn\nu0,talk,0\n")
    (tmp_path / "models/seed0").mkdir(parents=True)
    words = ["--csv", "predictions.csv", "--to", ".", "--model", "models/seed0"]
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    with pytest.raises(UserError, match=r"predictions.csv would overwrite predictions.csv"):
        predict.main()


@pytest.mark.parametrize(("end", "places"), [(None, [0, 50]), (2.0, [0, 0])])
def test_turns_without_times_lie_in_a_row(tmp_path, end, places):
    found = recordings(tmp_path, "talk.mp4", "talk.mp4", end=end)
    shown = Shown({"talk.mp4": tmp_path / "talk.mp4"})
    made = timeline.turns_of(Answers(found, ["joy"], np.ones((2, 1)), {}), tmp_path, shown)
    page = Page(turns.render("talk", "", ["joy"], made, [], step=False))
    blocks = [e["style"] for e in page.all("button") if "data-turn" in e]
    assert [float(re.match(r"left:([0-9.]+)%", style)[1]) for style in blocks] == places


def test_a_turn_far_from_training_is_flagged_on_the_page(tmp_path):
    found = recordings(tmp_path, "talk.mp4", "talk.mp4", end=2.0)
    far = {"audio": np.array([False, True]), "text": np.array([False, False])}
    answers = Answers(found, ["joy"], np.ones((2, 1)), {}, far=far)
    made = timeline.turns_of(answers, tmp_path, Shown({}))
    page = Page(turns.render("talk", "", ["joy"], made, [], step=False))
    assert [e["text"] for e in page.all("span", class_="status gap")] == ["audio: far from training"]
    assert ["data-flagged" in e for e in page.all("li", class_="turn")] == [False, True]


def test_a_turn_below_the_least_probability_is_left_open(tmp_path):
    found = recordings(tmp_path, "talk.mp4", "talk.mp4", end=2.0)
    answers = Answers(found, ["joy", "anger"], np.array([[0.9, 0.1], [0.4, 0.6]]), {}, 0.7)
    assert table(answers)["emotion"].tolist() == ["joy", ""]
    (text,) = subtitles(answers).values()
    assert "[joy]" in text
    assert "[?]" in text
    made = timeline.turns_of(answers, tmp_path, Shown({}))
    assert [(turn.label, turn.guess.label) for turn in made] == [("joy", "joy"), ("", "anger")]
    page = Page(turns.render("talk", "", ["joy", "anger"], made, [], step=False))
    assert [e["text"] for e in page.all("span", class_="label")] == ["joy", "no label"]
    assert [e["text"] for e in page.all("span", class_="guess")] == ["model: joy 90%", "model: anger 60%"]
