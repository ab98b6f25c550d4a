"""Tables that were believed: two sessions in a dialogue, a turn twice, a camera's upper-case suffixes."""

from __future__ import annotations

import pytest

from pipeline.corpora import csv, subtitles
from pipeline.errors import UserError
from pipeline.prepare import prepare
from pipeline.tables.schema import UTTERANCE_COLUMNS, read_utterances
from tests.pipeline import raw_folders

HEADER = "utterance,dialogue,turn,split,session\n"


def read(tmp_path, rows: str):
    (tmp_path / "own.csv").write_text(HEADER + rows)
    return csv.read(tmp_path, raw_folders.corpus("csv", tmp_path))


def test_a_dialogue_is_of_one_session_or_its_fold_would_leak(tmp_path):
    expected = r"own.csv:3: session='2': dialogue d is in session '1' at .*own.csv:2"
    with pytest.raises(UserError, match=expected):
        read(tmp_path, "a,d,0,train,1\nb,d,1,train,2\n")
    lines = [",".join(UTTERANCE_COLUMNS), "a,d,0,A,1,,,,,", "b,d,1,A,2,,,,,"]
    (tmp_path / "u.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="line 3: session='2': dialogue d has session '1' in an earlier row"):
        read_utterances(tmp_path / "u.csv")


def test_two_turns_of_one_number_have_no_order(tmp_path):
    with pytest.raises(
        UserError, match=r"own.csv:3: turn='0': duplicate turn of dialogue d; first at .*own.csv:2"
    ):
        read(tmp_path, "u10,d,0,train,\nu2,d,0,train,\n")


def test_suffixes_in_capitals_are_found(tmp_path):
    for name, text in (("talk.srt", "Hello."), ("more.SRT", "You too.")):
        (tmp_path / name).write_text(f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n")
    for name in ("talk.MP4", "more.mp4"):
        (tmp_path / name).write_bytes(b"pictures")
    utterances, _ = subtitles.read(tmp_path, raw_folders.corpus("subtitles", tmp_path))
    assert list(utterances["media"]) == ["more.mp4", "talk.MP4"]


def test_media_that_come_later_are_looked_for_by_the_command_that_is_named(tmp_path, monkeypatch):
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "own.csv").write_text("utterance,dialogue,turn,split,media\na,d,0,train,a.wav\n")
    corpus = raw_folders.corpus("csv", root)
    said = prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    assert "when the files exist, run `dvc repro --force prepare`" in said
