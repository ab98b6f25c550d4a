from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import latency, rows
from train.models import MODELS


def test_every_causal_model_answers_and_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latency.json"
    monkeypatch.setattr(sys, "argv", ["latency", "--turns", "1", "3", "--seconds", "0", "--json", str(path)])
    latency.main()
    models = [name for name in MODELS if name != "foalnet"]  # it reads single utterances
    assert latency.causal() == models
    found = rows.read(path)
    assert set(found) == {("latency", f"{name}, {turns}", "ms") for name in models for turns in (1, 3)}
    assert all(value > 0 for value in found.values())
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ms", "model", *models]
