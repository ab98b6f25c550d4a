"""MELD: the real csv files, and the faults that its copies are known for."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from pipeline.corpora import meld
from pipeline.errors import UserError
from pipeline.prepare import prepare
from pipeline.tables.schema import read_utterances
from tests.pipeline import raw_folders

REAL = Path(os.environ.get("EMOFUSE_DATA", "/nonexistent")) / "meld_text"


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


@pytest.mark.skipif(not REAL.is_dir(), reason="EMOFUSE_DATA holds no meld_text")
def test_the_real_files(tmp_path):
    corpus = raw_folders.corpus("meld", REAL)
    utterances, labels = meld.read(REAL, corpus)
    assert labels["split"].value_counts().to_dict() == {"train": 9989, "val": 1109, "test": 2610}
    for split, counts in meld.published(corpus).items():
        assert labels.loc[labels["split"] == split, "emotion"].value_counts().to_dict() == counts
    assert utterances["dialogue"].nunique() == 1038 + 114 + 280
    # Texts unchanged, byte for byte, through the whole stage.
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    texts = {u.utterance: (u.text, u.speaker, u.media) for u in read_utterances(tmp_path / "u.csv")}
    assert len(texts) == 13708
    for split, (_, folder) in meld.SPLITS.items():
        with (REAL / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                d, u = int(row["Dialogue_ID"]), int(row["Utterance_ID"])
                expected = (row["Utterance"], row["Speaker"], f"{folder}/dia{d}_utt{u}.mp4")
                assert texts[f"{split}_dia{d:04}_utt{u:02}"] == expected


def test_rows_are_in_order_and_gaps_stay_in_the_ids(tmp_path):
    utterances, _ = meld.read(tmp_path, raw_folders.meld(tmp_path))
    assert list(utterances["utterance"]) == sorted(utterances["utterance"])
    assert list(utterances["dialogue"].unique()) == [
        "dev_dia0000", "test_dia0000", "train_dia0000", "train_dia0002", "train_dia0010",
    ]  # fmt: skip


def test_c1_characters_are_repaired_and_nothing_else():
    broken = "It\x92s \x93fine\x94 \x85 caf\xe9 \x81 – ’ \x97"
    assert meld.repair(broken) == "It’s “fine” … café \x81 – ’ —"
    assert meld.repair("naïve “quotes” … – — ’") == "naïve “quotes” … – — ’"


def test_c1_characters_are_repaired_in_the_table(tmp_path):
    corpus = raw_folders.meld(tmp_path)
    path = tmp_path / "dev_sent_emo.csv"
    path.write_bytes(path.read_bytes().replace("’".encode(), "\x92".encode()))
    utterances, _ = meld.read(tmp_path, corpus)
    assert utterances["text"][0] == "It’s me."


@pytest.mark.parametrize("folder", ["", "data/MELD", "MELD.Raw"])
def test_the_annotations_lie_where_people_have_them(tmp_path, folder):
    corpus = raw_folders.meld(tmp_path / folder)
    utterances, _ = meld.read(tmp_path, corpus.model_copy(update={"root": str(tmp_path)}))
    assert len(utterances) == 6


def test_clips_in_a_folder_of_their_split(tmp_path):
    corpus = raw_folders.meld(tmp_path)
    (tmp_path / "train/train_splits").mkdir(parents=True)
    (tmp_path / "output_repeated_splits_test").mkdir()
    utterances, _ = meld.read(tmp_path, corpus)
    media = dict(zip(utterances["utterance"], utterances["media"], strict=True))
    assert media["train_dia0010_utt00"] == "train/train_splits/dia10_utt0.mp4"
    assert media["test_dia0000_utt00"] == "output_repeated_splits_test/dia0_utt0.mp4"
    assert media["dev_dia0000_utt00"] == "dev_splits_complete/dia0_utt0.mp4"


def test_all_bad_rows_in_one_message(tmp_path):
    corpus = raw_folders.meld(tmp_path)
    path = tmp_path / "train_sent_emo.csv"
    text = path.read_bytes().replace(b",anger,", b",cross,").replace(b"negative,0,3", b"negative,-1,3")
    path.write_bytes(text)
    with pytest.raises(UserError) as caught:
        meld.read(tmp_path, corpus)
    assert "train_sent_emo.csv:3: Dialogue_ID='-1': must be a whole number" in str(caught.value)
    assert "train_sent_emo.csv:4: emotion='cross': is not in corpus.labels" in str(caught.value)
