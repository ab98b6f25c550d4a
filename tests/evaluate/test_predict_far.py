"""Utterances far from those of training are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluate.package.__main__ import package
from pipeline.errors import UserError
from tests.evaluate.recording import edit, region, rows, video


def test_an_utterance_beyond_the_records_limit_is_named(talk, monkeypatch, capsys):
    region(talk / "models/seed0", 1e9)
    video(monkeypatch)
    assert [row["far"] for row in rows(talk / "out")] == ["", ""]
    assert "far from" not in capsys.readouterr().err
    region(talk / "models/seed0", 0.0)
    video(monkeypatch)
    assert [row["far"] for row in rows(talk / "out")] == ["audio", "audio"]
    assert "warning: audio: 2 of 2 utterances are far from those of training" in capsys.readouterr().err


def test_a_record_of_an_earlier_version_names_none_and_says_so(talk, monkeypatch, capsys):
    """Its limit is of another distance, so it is not used."""
    edit(talk / "models/seed0", lambda said: said.update(far={"audio": 0.0}, distance=""))
    video(monkeypatch)
    assert [row["far"] for row in rows(talk / "out")] == ["", ""]
    said = capsys.readouterr().err
    assert "model.json: names no distance.safetensors, so no utterance is named as far from training" in said


def test_a_region_that_is_missing_is_one_message(talk, monkeypatch):
    region(talk / "models/seed0", 0.0)
    (talk / "models/seed0/distance.safetensors").unlink()
    with pytest.raises(UserError, match=r"distance.safetensors: no such file; run `dvc repro train`"):
        video(monkeypatch)


def test_a_package_names_the_same_utterances(talk, monkeypatch):
    region(talk / "models/seed0", 0.0)
    files = package(Path("models/seed0"), Path("share"), "research only", Path("none.json"), False)
    assert files == ["README.md", "config.json", "distance.safetensors", "model.json", "model.safetensors"]
    assert "`distance.safetensors` tells which" in (talk / "share/README.md").read_text()
    video(monkeypatch, "--model", "share")
    assert [row["far"] for row in rows(talk / "out")] == ["audio", "audio"]
