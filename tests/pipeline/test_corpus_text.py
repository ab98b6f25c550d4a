"""EmoryNLP and DailyDialog: labelled conversations without media."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.check import report
from pipeline.corpora import dailydialog, emorynlp
from pipeline.errors import UserError
from pipeline.prepare import prepare
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import target_of
from tests.pipeline import corpus_trees, raw_folders
from tests.pipeline.corpus_trees import edited, fault

REAL = Path(os.environ.get("EMOFUSE_DATA", "/nonexistent"))


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


@pytest.mark.skipif(not (REAL / "emorynlp").is_dir(), reason="EMOFUSE_DATA holds no emorynlp")
def test_emorynlp_has_its_published_counts():
    corpus = raw_folders.corpus("emorynlp", REAL / "emorynlp", list(emorynlp.EMOTIONS))
    utterances, labels = emorynlp.read(REAL / "emorynlp", corpus)
    scenes = utterances.merge(labels, on="utterance").groupby("split")["dialogue"].nunique().to_dict()
    assert scenes == {"train": 713, "val": 99, "test": 85}
    assert labels["split"].value_counts().to_dict() == {"train": 9934, "val": 1344, "test": 1328}
    for split, counts in emorynlp.published(corpus).items():
        assert labels.loc[labels["split"] == split, "emotion"].value_counts().to_dict() == counts


def test_emorynlp_scenes_are_dialogues(tmp_path):
    utterances, labels = emorynlp.read(tmp_path, corpus_trees.emorynlp(tmp_path))
    assert list(utterances["utterance"]) == [
        "s01_e01_c01_u001", "s01_e01_c01_u002", "s01_e02_c01_u001", "s01_e03_c01_u001", "s01_e03_c01_u002",
    ]  # fmt: skip
    assert list(labels["split"]) == ["train", "train", "val", "test", "test"]
    assert list(labels["emotion"]) == ["mad", "neutral", "neutral", "sad", "peaceful"]
    assert utterances["text"][4] == "’Til next time"
    assert utterances["speaker"][0] == "Monica Geller"


def test_emorynlp_names_everybody_who_speaks_at_once(tmp_path):
    corpus = corpus_trees.emorynlp(tmp_path)
    path = tmp_path / "json/emotion-detection-dev.json"
    path.write_text(path.read_text().replace('"Rachel Green"', '"Rachel Green", "Bonnie"'))
    utterances, _ = emorynlp.read(tmp_path, corpus)
    assert utterances["speaker"][2] == "Rachel Green & Bonnie"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"Mad"', '"Mda"', "episodes.0.scenes.0.utterances.0: emotion='mda': is not in corpus.labels"),
        ('"emotion": "Mad"', '"emotions": "Mad"', "episodes.0.scenes.0.utterances.0.emotion: missing"),
        ("_u002", "_u001", "duplicate utterance id; first at"),
        ('"Mad"', "3", "emotion=3: input should be a valid string"),
        ('"trn",', '"trn"', ".json:3: not valid JSON: Expecting ',' delimiter"),
        ('"Mad"', '"\\ud800"', "emotion="),
        ('"season_id": "trn"', f'"season_id": {"9" * 5000}', "not readable as JSON"),
        ('"season_id": "trn"', f'"season_id": {"[" * 100_000}', "not readable as JSON"),
    ],
)
def test_emorynlp_with_a_fault(tmp_path, old, new, message):
    corpus = corpus_trees.emorynlp(tmp_path)
    path = tmp_path / "json/emotion-detection-trn.json"
    edited(path, old, new)
    said = fault(emorynlp.read, tmp_path, corpus)
    assert message in said
    assert str(path) in said


def test_emorynlp_without_a_file(tmp_path):
    corpus = corpus_trees.emorynlp(tmp_path)
    (tmp_path / "json/emotion-detection-tst.json").unlink()
    with pytest.raises(UserError, match=r"no emotion-detection-tst.json here \(looked for json/"):
        emorynlp.read(tmp_path, corpus)


@pytest.mark.parametrize("tree", [corpus_trees.dailydialog, corpus_trees.dailydialog_json])
def test_dailydialog_in_both_layouts(tmp_path, tree):
    utterances, labels = dailydialog.read(tmp_path, tree(tmp_path))
    assert list(utterances["utterance"]) == [
        "test_00000_00", "train_00000_00", "train_00000_01", "train_00001_00", "train_00001_01", "val_00000_00",
        "val_00000_01", "val_00000_02",
    ]  # fmt: skip
    assert list(labels["emotion"]) == [
        "anger", "disgust", "neutral", "neutral", "happiness", "neutral", "neutral", "surprise",
    ]  # fmt: skip
    assert list(utterances["speaker"]) == ["A", "A", "B", "A", "B", "A", "B", "A"]
    assert utterances["text"][7] == "Well , that’s too far ."


def test_dailydialog_in_folders_within_folders(tmp_path):
    corpus = corpus_trees.dailydialog(tmp_path)
    (tmp_path / "train").rename(tmp_path / "archive")
    (tmp_path / "train").mkdir()
    (tmp_path / "archive").rename(tmp_path / "train/train")
    assert len(dailydialog.read(tmp_path, corpus)[0]) == 8


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "dialogues_emotion_train.txt",
            "2 0",
            "2",
            "dialogues_train.txt:1: emotion='2': 1 labels in dialogues_emotion",
        ),
        (
            "dialogues_emotion_train.txt",
            "2 0 \n",
            "",
            "dialogues_train.txt:2: line='So Dick ? __eou__ Fine . __eou__': dialogues_emotion_train.txt has no",
        ),
        (
            "dialogues_emotion_train.txt",
            "2 0",
            "7 0",
            "train.txt:1 (turn 0): emotion='7': is not in corpus.labels",
        ),
        (
            "dialogues_train.txt",
            "stinks . __eou__",
            "stinks .",
            "train.txt:1: emotion='2 0': 2 labels in dialogues_emotion",
        ),
    ],
)
def test_dailydialog_with_a_fault(tmp_path, file, old, new, message):
    corpus = corpus_trees.dailydialog(tmp_path)
    edited(tmp_path / "train" / file, old, new)
    assert message in fault(dailydialog.read, tmp_path, corpus)


def test_dailydialog_without_the_split_archives(tmp_path):
    with pytest.raises(UserError, match=r"no train split of DailyDialog \(unpack the three archives"):
        dailydialog.read(tmp_path, corpus_trees.corpus("dailydialog", tmp_path))


@pytest.mark.parametrize("tree", [corpus_trees.emorynlp, corpus_trees.dailydialog])
def test_utterances_without_media(tmp_path, tree):
    corpus = tree(tmp_path / "raw")
    summary = prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    assert "0 of 0 media found" in summary
    utterances = read_utterances(tmp_path / "u.csv")
    assert {u.media for u in utterances} == {""}
    assert all(u.text for u in utterances)
    read_labels(utterances, target_of(corpus), tmp_path / "l.csv")
    assert "media: 0 of 0 files found" in report(corpus, pictures=False)
