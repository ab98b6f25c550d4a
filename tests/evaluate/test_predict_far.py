"""Utterances far from those of training are named."""

from __future__ import annotations

from tests.evaluate.recording import edit, rows, video


def test_an_utterance_beyond_the_records_limit_is_named(talk, monkeypatch, capsys):
    edit(talk / "models/seed0", lambda said: said.update(far={"audio": 1e9}))
    video(monkeypatch)
    assert [row["far"] for row in rows(talk / "out")] == ["", ""]
    assert "far from those of training" not in capsys.readouterr().err
    edit(talk / "models/seed0", lambda said: said.update(far={"audio": 0.0}))
    video(monkeypatch)
    assert [row["far"] for row in rows(talk / "out")] == ["audio", "audio"]
    assert "warning: audio: 2 of 2 utterances are far from those of training" in capsys.readouterr().err


def test_a_record_of_an_earlier_version_names_none(talk, monkeypatch):
    edit(talk / "models/seed0", lambda said: said.pop("far"))
    video(monkeypatch)
    assert [row["far"] for row in rows(talk / "out")] == ["", ""]
