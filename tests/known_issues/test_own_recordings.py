"""Recordings in data/own were git-ignored: `dvc add` refused them and queued runs did not find them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.clone import ROOT, clone, git, ran, run, shell
from tests.pipeline import raw_folders

README = (ROOT / "README.md").read_text(encoding="utf-8")
PARAMS = """corpus:
  name: csv
  build: []
  watch: corpora/own
  root: corpora/own
  labels: [joy, anger]
  target: single
  values: []
  title: Ours
  licence: ours
  keep_tags: false
  split_seed: 0
  transcribe: {}

extract:
  opensmile: {encoder: opensmile}

finetune: {}
"""
CHANGES = {
    "{text: text, audio: opensmile, visual: face}": "{text: none, audio: opensmile, visual: none}",
    "name: multiemo": "name: logreg",
    "bootstrap: 1000": "bootstrap: 10",
}


def recordings(folder: Path) -> None:
    """Four dialogues of two turns, a high and a low tone."""
    rows = ["utterance,dialogue,turn,media,split,emotion"]
    for dialogue, split in enumerate(["train", "train", "val", "test"]):
        for turn, emotion in enumerate(["joy", "anger"]):
            name = f"{dialogue}_{turn}"
            sound = 0.3 * np.sin(np.arange(8000) / (5 + 10 * turn + dialogue))
            raw_folders.wav(folder / f"clips/{name}.wav", sound)
            rows.append(f"{name},d{dialogue},{turn},clips/{name}.wav,{split},{emotion}")
    (folder / "own.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def project(tmp_path):
    folder = clone(tmp_path / "project")
    path = folder / "params.yaml"
    text = PARAMS + path.read_text(encoding="utf-8").partition("finetune: {}\n")[2]
    for old, new in CHANGES.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    recordings(tmp_path / "recordings")
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_readmes_lines_for_own_recordings(project, tmp_path):
    [block] = re.findall(r"```bash\n(mkdir corpora .*?)```", README, re.DOTALL)
    output = shell(project, block.replace("/path/to/recordings", str(tmp_path / "recordings")))
    assert ran(output) == ["check", "prepare", "extract@opensmile", "train", "evaluate"]
    assert "8 utterances: 8 ok" in output


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_media_that_stay_where_they_are(project, tmp_path):
    (project / "corpora/own").mkdir(parents=True)
    shutil.copy2(tmp_path / "recordings/own.csv", project / "corpora/own")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "Our table")
    there = {"EMOFUSE_MEDIA": str(tmp_path / "recordings")}
    output = run(project, "dvc", "exp", "run", "--temp", "prepare", **there)
    assert ran(output)[-1] == "prepare"
    assert "8 of 8 media found" in output
