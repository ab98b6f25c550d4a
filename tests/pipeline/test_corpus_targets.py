"""M3ED, CREMA-D, MMSA's layout and MER: votes, several labels and numbers."""

from __future__ import annotations

import pytest

from pipeline.corpora import cremad, m3ed, mer, mmsa
from pipeline.prepare import prepare
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import target_of
from tests.pipeline import corpus_trees
from tests.pipeline.corpus_trees import edited, fault


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


@pytest.mark.parametrize("tree", [corpus_trees.cremad, corpus_trees.m3ed, corpus_trees.mmsa])
def test_the_tables_are_written_and_read_back(tmp_path, tree):
    corpus = tree(tmp_path / "raw")
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    read_labels(read_utterances(tmp_path / "u.csv"), target_of(corpus), tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("target", "cell"),
    [("single", "anger"), ("multi", "anger|disgust"), ("soft", "anger:2|disgust:1|neutral:1")],
)
def test_m3ed_has_a_cell_for_each_target(tmp_path, target, cell):
    utterances, labels = m3ed.read(tmp_path / "raw", corpus_trees.m3ed(tmp_path / "raw", target))
    assert set(labels["emotion"]) == {cell}
    assert list(utterances["utterance"][:3]) == ["anjia_1_1", "anjia_1_2", "anjia_1_10"]
    assert list(labels["split"]) == ["train"] * 3 + ["test"] * 3 + ["val"] * 3
    assert utterances["media"][0] == "modality_speech/B_anjia_1_1.wav"
    assert utterances["speaker"][0] == "anjia 朱B"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "annotation.json",
            '"Anger,Disgust"',
            '"Anger,Discust"',
            "anjia.anjia_1.Dialog.anjia_1_10: emotion=",
        ),
        ("annotation.json", '"Speaker": "A"', '"Speaker": "C"', "Speaker='C': is not in SpeakerInfo"),
        ("annotation.json", '"final_main_emo"', '"main"', "EmoAnnotation.final_main_emo: missing"),
        ("annotation.json", "anjia_1_10", "anjia_1_x", "must end in the number of the turn"),
        ("splitInfo/movie_list_train.txt", "anjia", "", "show='anjia': is in no file of splitInfo"),
        (
            "splitInfo/movie_list_train.txt",
            "anjia",
            "yijiaren",
            "movie_list_val.txt:1: show 'yijiaren' is also in",
        ),
    ],
)
def test_m3ed_with_a_fault(tmp_path, file, old, new, message):
    corpus = corpus_trees.m3ed(tmp_path / "raw")
    edited(tmp_path / "raw" / file, old, new)
    assert message in fault(m3ed.read, tmp_path / "raw", corpus)


def test_cremad_takes_the_votes_of_those_who_only_heard_the_clip(tmp_path):
    utterances, labels = cremad.read(tmp_path, corpus_trees.cremad(tmp_path))
    assert list(labels["emotion"]) == [
        "happiness:1|neutral:10", "anger:2|disgust:6|neutral:1", "anger:4|neutral:4", "",
    ]  # fmt: skip
    assert list(utterances["session"]) == ["2", "4", "5", "1"]
    assert list(labels["split"]) == ["train", "val", "test", "train"]
    assert utterances["text"][0] == "It's eleven o'clock."


def test_cremad_takes_the_intended_emotion_without_votes(tmp_path):
    corpus = corpus_trees.cremad(tmp_path, "single")
    (tmp_path / "processedResults/tabulatedVotes.csv").unlink()
    _, labels = cremad.read(tmp_path, corpus)
    assert list(labels["emotion"]) == ["neutral", "anger", "anger", "sadness"]
    assert sum(cremad.published(corpus)["all"].values()) == 7442
    soft = corpus.model_copy(update={"target": "soft"})
    assert "corpus.target=soft needs the votes" in fault(cremad.read, tmp_path, soft)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",2,6,", ",2,-6,", "tabulatedVotes.csv:3: D='-6': must be a whole number of votes"),
        (
            "1003_IEO_ANG_HI",
            "1001_IEO_NEU_XX",
            "tabulatedVotes.csv:3: fileName='1001_IEO_NEU_XX': duplicate clip",
        ),
        ('"fileName"', '"name"', "tabulatedVotes.csv:1: missing column fileName"),
    ],
)
def test_cremad_with_a_fault(tmp_path, old, new, message):
    corpus = corpus_trees.cremad(tmp_path)
    edited(tmp_path / "processedResults/tabulatedVotes.csv", old, new)
    assert message in fault(cremad.read, tmp_path, corpus)


def test_cremad_with_a_wrong_name(tmp_path):
    corpus = corpus_trees.cremad(tmp_path)
    (tmp_path / "AudioWAV/1001_IEO_XXX_XX.wav").write_bytes(b"")
    assert "must have a form such as 1001_IEO_ANG_HI.wav" in fault(cremad.read, tmp_path, corpus)


def test_mmsa_sentiment(tmp_path):
    corpus = corpus_trees.mmsa(tmp_path).model_copy(update={"values": ["sentiment", "sentiment_audio"]})
    utterances, labels = mmsa.read(tmp_path, corpus)
    assert list(utterances["utterance"]) == [
        "aqgy3_0001_1", "video_0001_0001", "video_0001_0010", "video_0001_0002",
    ]  # fmt: skip
    assert list(labels["sentiment"]) == [1.0, -0.6, 0.4, 0.0]
    assert labels["sentiment_audio"].isna().tolist() == [True, False, False, False]
    assert list(labels["split"]) == ["test", "train", "train", "val"]
    assert list(utterances["dialogue"]) == [
        "aqgy3_0001",
        "video_0001_train",
        "video_0001_train",
        "video_0001_valid",
    ]
    assert utterances["media"][1] == "Raw/video_0001/0001.mp4"
    assert set(labels["emotion"]) == {""}


def test_mmsa_with_labels(tmp_path):
    labels = ["negative", "neutral", "positive"]
    corpus = corpus_trees.mmsa(tmp_path).model_copy(update={"labels": labels, "target": "single"})
    assert list(mmsa.read(tmp_path, corpus)[1]["emotion"]) == ["positive", "negative", "positive", "neutral"]


def test_sims_v2_has_a_smaller_table(tmp_path):
    corpus = corpus_trees.mmsa(tmp_path)
    (tmp_path / "label.csv").unlink()
    (tmp_path / "meta.csv").write_text(
        "video_id,clip_id,text,label,mode\nv,00001,好,0.4,train\n", encoding="utf-8"
    )
    assert list(mmsa.read(tmp_path, corpus)[1]["sentiment"]) == [0.4]
    more = corpus.model_copy(update={"values": ["sentiment_audio"]})
    assert "corpus.values: mmsa has no numbers named sentiment_audio" in fault(mmsa.read, tmp_path, more)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",-0.6,", ",low,", "label.csv:2: label='low': must be a number"),
        (",train\n", ",training\n", "label.csv:2: split='training': must be one of"),
        ("0010,", "0001,", "label.csv:3: utterance='video_0001_0001': duplicate utterance id"),
        ("clip_id", "clip", "label.csv:1: missing column clip_id"),
        ("video_0001,0001", "../x,0001", "label.csv:2: media='Raw/../x/0001.mp4': must be a relative path"),
    ],
)
def test_mmsa_with_a_fault(tmp_path, old, new, message):
    corpus = corpus_trees.mmsa(tmp_path)
    edited(tmp_path / "label.csv", old, new)
    assert message in fault(mmsa.read, tmp_path, corpus)


def test_mer_valence(tmp_path):
    corpus = corpus_trees.mer(tmp_path).model_copy(update={"values": ["valence"]})
    _, labels = mer.read(tmp_path, corpus)
    assert labels["valence"].tolist()[18:] == [1.8, 1.9, -1.5, 3.0]
