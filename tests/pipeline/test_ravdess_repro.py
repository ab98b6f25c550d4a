"""The preset of RAVDESS, from wav files to scores: made-up clips of eight actors, one group of actors held out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpora.ravdess import EMOTIONS
from pipeline.tables.schema import read_utterances
from tests.clone import ROOT, clone, ran, run
from tests.pipeline import raw_folders

ACTORS = (1, 2, 5, 6, 9, 13, 17, 21)


def clips(folder: Path) -> None:
    """One clip for each actor and emotion; the tone's height says the emotion."""
    for actor in ACTORS:
        for number, emotion in enumerate(EMOTIONS):
            seconds = np.arange(8000) / 16000
            tone = 0.3 * np.sin(2 * np.pi * (120 + 60 * number + actor / 4) * seconds)
            raw_folders.wav(folder / f"Actor_{actor:02}/03-01-{emotion}-01-01-01-{actor:02}.wav", tone)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_preset_runs_on_wav_files_and_holds_actors_out(tmp_path):
    project = clone(tmp_path / "project")
    clips(tmp_path / "recordings")
    shutil.copy(ROOT / "presets/ravdess.yaml", project / "params.yaml")
    output = run(project, "dvc", "repro", EMOFUSE_MEDIA=str(tmp_path / "recordings"))
    assert ran(output) == ["check", "prepare", "extract@opensmile", "train", "evaluate"]
    assert "64 of 64 media found" in output
    session = {u.utterance: u.session for u in read_utterances(project / "data/utterances.csv")}
    assert sorted(set(session.values())) == ["1", "2", "3", "4", "5", "6"]
    predictions = (project / "results/predictions.csv").read_text(encoding="utf-8").splitlines()
    split = predictions[0].split(",").index("split")
    tested = {line.split(",")[0] for line in predictions[1:] if line.split(",")[split] == "test"}
    assert tested == {utterance for utterance, group in session.items() if group == "1"}
    metrics = json.loads((project / "results/metrics.json").read_text(encoding="utf-8"))
    # 16 clips of 8 emotions: the majority class has an accuracy of 1/8.
    assert metrics["test"]["accuracy"] > 0.5
