"""`prepare --card`: a datasheet whose Markdown and JSON say the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import datasheet
from pipeline.corpora import emorynlp
from pipeline.errors import UserError
from pipeline.prepare import module, prepare
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import target_of
from tests.pipeline import corpus_trees, raw_folders

ROOT = Path(__file__).parents[2]
TALK = """utterance,dialogue,turn,speaker,text,media,start,end,split,emotion
a1,a,0,Anna,Hello.,call.wav,0,0.75,train,joy
a2,a,1,Ben,,call.wav,0.75,1,train,neutral
b1,b,0,Anna,Who?,whole.wav,,,test,joy
c1,c,0,A|b,*No*,gone.wav,,,val,
"""


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def prepared(corpus, folder: Path):
    prepare(corpus, folder / "u.csv", folder / "l.csv")
    utterances = read_utterances(folder / "u.csv")
    return corpus, module(corpus), utterances, read_labels(utterances, target_of(corpus), folder / "l.csv")


@pytest.fixture
def talk(tmp_path):
    raw_folders.wav(tmp_path / "raw/call.wav", np.zeros(16000))
    raw_folders.wav(tmp_path / "raw/whole.wav", np.zeros(32000))
    (tmp_path / "raw/own.csv").write_text(TALK)
    corpus = raw_folders.corpus("csv", tmp_path / "raw", ["joy", "neutral"], licence="ours")
    return prepared(corpus, tmp_path)


def test_facts(talk):
    found = datasheet.facts(*talk)
    assert found == {
        "corpus": "csv",
        "licence": "ours",
        "languages": [],
        "known_faults": [],
        "target": "single",
        "labels": ["joy", "neutral"],
        "utterances": 4,
        "dialogues": 3,
        "speakers": 3,
        "seconds": 3.0,
        "utterances_of_known_duration": 3,
        "turns_per_dialogue": {"median": 1.0, "most": 2},
        "without_text": 1,
        "without_emotion": 1,
        "splits": {
            "train": part(2, 1, 2, 1.0, joy=1, neutral=1),
            "val": part(1, 1, 1, None, joy=0, neutral=0),
            "test": part(1, 1, 1, 2.0, joy=1, neutral=0),
        },
        "speaker_labels": {
            "A|b": {"joy": 0, "neutral": 0},
            "Anna": {"joy": 2, "neutral": 0},
            "Ben": {"joy": 0, "neutral": 1},
        },
        "speakers_in_several_splits": ["Anna"],
        "media_files": 3,
        "missing_media": ["gone.wav"],
    }


def part(utterances, dialogues, speakers, seconds, **labels):
    return {
        "utterances": utterances,
        "dialogues": dialogues,
        "speakers": speakers,
        "seconds": seconds,
        "utterances_of_known_duration": utterances if seconds else 0,
        "labels": labels,
        "values": {},
    }


def test_the_markdown_shows_the_facts(talk):
    text = datasheet.markdown(datasheet.facts(*talk))
    assert text.startswith("# Datasheet: csv\n")
    for line in (
        "| licence | ours |",
        "| languages | unknown |",
        "| duration | 0:00:03 for 3 of 4 utterances |",
        "| media files | 3, of which 1 are missing |",
        "| train | 2 | 1 | 2 | 0:00:01 |",
        "| val | 1 | 1 | 1 | unknown |",
        "| joy | 1 (50.0%) | 0 | 1 (100.0%) |",
        "| Anna | 2 | 0 |",
        "| A\\|b | 0 | 0 |",
        "Speakers in several splits: Anna.",
        "gone.wav.",
        "The importer lists none.",
    ):
        assert line in text.split("\n"), line


def test_a_corpus_without_media_or_speakers(tmp_path):
    found = datasheet.facts(*prepared(corpus_trees.emorynlp(tmp_path / "raw"), tmp_path))
    assert found["languages"] == ["English"]
    assert found["known_faults"] == list(emorynlp.FAULTS)
    assert (found["seconds"], found["media_files"]) == (None, 0)
    text = datasheet.markdown(found)
    assert "| duration | unknown |" in text
    assert "## Missing media" not in text
    assert f"- {emorynlp.FAULTS[0]}" in text


def test_votes_and_values(tmp_path):
    (tmp_path / "raw").mkdir()
    header, *rows = TALK.splitlines()
    rows = [row.replace(",joy", ",joy:2|neutral") for row in rows]
    cells = ["valence", "-1", "2", "", "0.5"]
    lines = [f"{row},{cell}" for row, cell in zip([header, *rows], cells, strict=True)]
    (tmp_path / "raw/own.csv").write_text("\n".join(lines))
    corpus = raw_folders.corpus(
        "csv", tmp_path / "raw", ["joy", "neutral"], target="soft", values=["valence"]
    )
    found = datasheet.facts(*prepared(corpus, tmp_path))
    assert found["target"] == "soft"
    assert found["splits"]["train"]["labels"] == {"joy": 1, "neutral": 2}
    assert found["splits"]["train"]["values"]["valence"] == {
        "rated": 2, "mean": 0.5, "sd": 1.5, "least": -1.0, "greatest": 2.0,
    }  # fmt: skip
    assert found["splits"]["test"]["values"]["valence"]["mean"] is None
    assert "| valence | 0.50 ± 1.50 (2) | 0.50 ± 0.00 (1) | 0 |" in datasheet.markdown(found)


def test_media_that_are_not_here_have_no_duration(talk, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOFUSE_MEDIA", str(tmp_path / "elsewhere"))
    found = datasheet.facts(*talk)
    assert (found["seconds"], found["utterances_of_known_duration"]) == (1.0, 2)


def test_a_name_for_the_markdown(talk, tmp_path):
    with pytest.raises(UserError, match=r"choose a name such as .*card.md"):
        datasheet.write(tmp_path / "card.json", *talk)


def test_the_command(tmp_path):
    corpus_trees.ravdess(tmp_path / "data/ravdess")
    (tmp_path / "params.yaml").write_text((ROOT / "presets/ravdess.yaml").read_text(encoding="utf-8"))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.prepare", *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    early = run("--card", "card.md")
    assert (early.returncode, "run `dvc repro prepare`" in early.stderr) == (2, True)
    assert run().returncode == 0
    done = run("--card", "card.md")
    assert (done.returncode, done.stdout) == (0, "card.md\ncard.json\n"), done.stderr
    found = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert found["splits"]["train"] == part(
        2, 2, 1, 0.2, **dict.fromkeys(found["labels"], 0) | {"neutral": 1, "anger": 1}
    )
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == datasheet.markdown(found)
