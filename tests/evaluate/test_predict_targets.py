"""Predictions for new recordings by models of votes, several labels and values."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluate.predict import __main__ as predict
from pipeline.errors import UserError
from train.checkpoint import read_model, write_model


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "predictions.csv").read_text(encoding="utf-8"))))


def run(monkeypatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["predict", "talk.mp4", "--subtitles", "talk.srt", "--to", "out", *words])
    predict.main()


def test_a_model_of_values_gives_numbers(talk, monkeypatch):
    folder = talk / "models/seed0"
    scale = [{"mean": 2.0, "sd": 0.5}, {"mean": -1.0, "sd": 2.0}, {"mean": 0.0, "sd": 1.0}]
    weights, record = read_model(folder)
    names = ["valence", "arousal", "sentiment"]
    fields = record.model_dump(mode="json") | {"target": "values", "labels": names, "scale": scale}
    write_model(folder, weights, type(record).model_validate(fields))
    run(monkeypatch)
    found = rows(talk / "out")
    assert "emotion" not in found[0]
    values = np.array([[float(row[name]) for name in names] for row in found])
    assert np.isfinite(values).all()
    said = f"valence {values[0, 0]:.2f}, arousal {values[0, 1]:.2f}, sentiment {values[0, 2]:.2f}"
    assert f"[{said}]" in (talk / "out/talk.emotion.srt").read_text(encoding="utf-8")
    page = (talk / "out/timeline.html").read_text(encoding="utf-8")
    assert said in page
    assert page.count("<polyline") == 3 * len({row["speaker"] for row in found})
    with pytest.raises(UserError, match=r"--at-least 0.5: the model predicts valence, arousal, sentiment"):
        run(monkeypatch, "--at-least", "0.5")


def test_a_model_of_several_labels_gives_those_that_reach_their_thresholds(talk, monkeypatch):
    folder = talk / "models/seed0"
    weights, record = read_model(folder)
    fields = record.model_dump(mode="json") | {"target": "multi", "thresholds": [0.0, 1.0, 0.0]}
    write_model(folder, weights, type(record).model_validate(fields))
    run(monkeypatch)
    first, _, third = record.labels
    for row in rows(talk / "out"):
        assert row["emotion"] == f"{first}|{third}"
        assert 0 < sum(float(row[name]) for name in record.labels) < 3
    page = (talk / "out/timeline.html").read_text(encoding="utf-8")
    assert page.count(f'data-label="{first}|{third}"') == 2
    assert "data-flagged" not in page


def test_a_model_of_votes_gives_shares(talk, monkeypatch):
    folder = talk / "models/seed0"
    weights, record = read_model(folder)
    write_model(folder, weights, record.model_copy(update={"target": "soft"}))
    run(monkeypatch)
    for row in rows(talk / "out"):
        shares = torch.tensor([float(row[name]) for name in record.labels])
        assert shares.sum().item() == pytest.approx(1)
        assert row["emotion"] == record.labels[int(shares.argmax())]
