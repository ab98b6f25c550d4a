"""CMU-MOSEI's raw layout, and MMSA's pickles: tables and streams."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.corpora import mmsa_pickle, mosei
from pipeline.features import FeatureCache
from pipeline.features.__main__ import main
from pipeline.prepare import prepare
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import target_of
from tests.pipeline import corpus_trees
from tests.pipeline.corpus_trees import edited, fault


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


@pytest.mark.parametrize("tree", [corpus_trees.mosei, corpus_trees.mmsa_pickle])
def test_the_tables_are_written_and_read_back(tmp_path, tree):
    corpus = tree(tmp_path / "raw")
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    read_labels(read_utterances(tmp_path / "u.csv"), target_of(corpus), tmp_path / "l.csv")


def test_mosei_clips_have_the_label_of_their_span(tmp_path):
    corpus = corpus_trees.mosei(tmp_path)
    utterances, labels = mosei.read(tmp_path, corpus)
    assert list(utterances["utterance"]) == [
        "188343_1", "7l3BNtSE0xc_0", "hh04W3xXa5s_0", "hh04W3xXa5s_2", "hh04W3xXa5s_10",
    ]  # fmt: skip
    assert list(labels["split"]) == ["val", "test", "train", "train", "train"]
    np.testing.assert_array_equal(labels["sentiment"], [-3, np.nan, 1, 0, np.nan])
    np.testing.assert_array_equal(labels["happiness"], [0, np.nan, 2, 0, np.nan])
    assert utterances["text"][4] == "So_do___I."
    assert utterances["media"][0] == "Videos/Full/Combined/188343.mp4"
    assert list(zip(utterances["start"], utterances["end"], strict=True))[3] == (2.5, 4.0)
    assert set(labels["emotion"]) == {""}
    assert mosei.notes(corpus) == [
        "1 videos are in no list of cmu_mosei_std_folds.py and were left out",
        "1 labels have a span that no line of a transcript has and were left out",
    ]


def test_mosei_with_several_emotions(tmp_path):
    labels = [*mosei.EMOTIONS, "neutral"]
    corpus = corpus_trees.mosei(tmp_path).model_copy(
        update={"target": "multi", "labels": labels, "values": []}
    )
    assert list(mosei.read(tmp_path, corpus)[1]["emotion"]) == [
        "sadness", "", "happiness|surprise", "neutral", "",
    ]  # fmt: skip
    single = corpus.model_copy(update={"target": "single"})
    assert "a clip of CMU-MOSEI may have several emotions" in fault(mosei.read, tmp_path, single)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (mosei.FOLDS, "standard_test_fold", "test_fold", "py:1: standard_test_fold='': missing"),
        (mosei.FOLDS, "'188343'", "188343", "py:5: valid='188343': must be a list of videos in quotes"),
        (mosei.FOLDS, "'188343'", "open('x')", "py:5: valid='open()': must be a list of videos in quotes"),
        (mosei.FOLDS, "'188343'", "'-lost'", "py:5: video='-lost': is also in the list of train"),
        (f"{mosei.TRANSCRIPTS}/188343.txt", "1.234567", "one", "188343.txt:1: line="),
        (f"{mosei.TRANSCRIPTS}/188343.txt", "188343___1", "188344___1", "must be: 188343___CLIP___START"),
        (f"{mosei.TRANSCRIPTS}/188343.txt", "3.0", "0.5", "188343.txt:1: end='0.5': must be after start"),
    ],
)
def test_mosei_with_a_fault(tmp_path, file, old, new, message):
    corpus = corpus_trees.mosei(tmp_path)
    edited(tmp_path / file, old, new)
    assert message in fault(mosei.read, tmp_path, corpus)


def test_mosei_with_other_labels(tmp_path):
    corpus = corpus_trees.mosei(tmp_path)
    with h5py.File(tmp_path / mosei.LABELS[0], "a") as file:
        del file["All Labels/data/188343/features"]
        file["All Labels/data/188343/features"] = np.ones((1, 2), "f4")
    message = fault(mosei.read, tmp_path, corpus)
    assert "CMU_MOSEI_Labels.csd: 188343: features='(1, 2)': must hold 7 finite numbers" in message


def test_a_pickle_has_the_table_of_mmsa(tmp_path):
    corpus = corpus_trees.mmsa_pickle(tmp_path)
    utterances, labels = mmsa_pickle.read(tmp_path, corpus)
    assert list(utterances["utterance"]) == [
        "aqgy3_0001_00000", "aqgy3_0001_00010", "aqgy3_0001_00002", "video_0002_0001",
    ]  # fmt: skip
    assert list(utterances["dialogue"]) == ["aqgy3_0001_train"] * 2 + ["aqgy3_0001_valid", "video_0002"]
    assert list(labels["sentiment"]) == [0.8, -0.6, 0.0, -1.0]
    assert utterances["text"][1] == "好, 走吧"
    assert set(utterances["media"]) == {""}
    names = corpus.model_copy(update={"labels": ["negative", "neutral", "positive"], "target": "single"})
    assert list(mmsa_pickle.read(tmp_path, names)[1]["emotion"]) == [
        "positive", "negative", "neutral", "negative",
    ]  # fmt: skip


@pytest.mark.parametrize("aligned", [False, True])
def test_a_pickle_has_streams_without_padding(tmp_path, monkeypatch, aligned):
    monkeypatch.chdir(tmp_path)
    corpus = corpus_trees.mmsa_pickle(tmp_path / "raw", aligned)
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    path = tmp_path / "raw/unaligned_50.pkl"
    raw = pickle.loads(path.read_bytes())["train"]
    lengths = {
        "text": [2, 3], "audio": [2, 3], "vision": [2, 3] if aligned else [1, 2],
    }  # fmt: skip
    for modality, field in (("text", "text"), ("audio", "audio"), ("visual", "vision")):
        with _imported(monkeypatch, path, modality, "--frames", "f4", "--rate", "10") as cache:
            for row, length in enumerate(lengths[field]):
                wanted = raw[field][row][:length]
                wanted[np.isneginf(wanted)] = 0
                np.testing.assert_array_equal(cache.frames(row), wanted)
                np.testing.assert_allclose(cache.pooled()[row], wanted.mean(0), rtol=1e-6)


def test_another_field_is_named_with_array(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = corpus_trees.mmsa_pickle(tmp_path / "raw")
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    path = tmp_path / "raw/unaligned_50.pkl"
    with _imported(monkeypatch, path, "audio", "--array", "vision") as cache:
        assert cache.meta.pooled_dim == 5
    message = fault(lambda *_: _imported(monkeypatch, path, "audio", "--array", "smell"), tmp_path, corpus)
    assert "unaligned_50.pkl: train: smell: a NoneType; expected an array of numbers" in message


def _imported(monkeypatch, source: Path, modality: str, *more: str) -> FeatureCache:
    about = ("--stream", "made", "--modality", modality, "--corpus", "c", "--licence", "l", "--encoder", "e")
    place = ("--utterances", "u.csv", "--out", "made.h5")
    monkeypatch.setattr("sys.argv", ["features", "import", str(source), *about, *place, *more])
    main()
    return FeatureCache(Path("made.h5"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part: part.pop("id"), "pkl: train: id: missing, or not a list of texts"),
        (lambda part: part["id"].pop(), "pkl: train: regression_labels: shape (2,); expected 1 dimensions, 1 clips"),
        (lambda part: part.update(regression_labels=["a", "b"]), "regression_labels: a list; expected an array"),
        (lambda part: part.update(regression_labels=[10**400, 1]), "regression_labels: a list; expected an array"),
        (lambda part: part.update(raw_text=["one"]), "pkl: train: raw_text: 1 texts for 2 clips"),
        (lambda part: part.update(regression_labels=np.array([np.nan, 1])), "label='nan': must be a number"),
        (lambda part: part["id"].__setitem__(1, part["id"][0]), "duplicate utterance id"),
        (lambda part: part.update(id=["x" * 300, "y"]), "must be printable, at most 200 characters"),
    ],
)  # fmt: skip
def test_a_pickle_with_a_fault(tmp_path, change, message):
    corpus = corpus_trees.mmsa_pickle(tmp_path)
    path = tmp_path / "unaligned_50.pkl"
    found = pickle.loads(path.read_bytes())
    change(found["train"])
    path.write_bytes(pickle.dumps(found))
    assert message in fault(mmsa_pickle.read, tmp_path, corpus)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "not MMSA's layout"),
        ({"train": 1}, "not MMSA's layout"),
        ({"train": {"id": [Path("x")]}}, "refused: it imports pathlib"),
    ],
)
def test_another_pickle(tmp_path, value, message):
    corpus = corpus_trees.mmsa_pickle(tmp_path)
    (tmp_path / "unaligned_50.pkl").write_bytes(pickle.dumps(value))
    assert message in fault(mmsa_pickle.read, tmp_path, corpus)


def test_one_pickle_is_read(tmp_path):
    corpus = corpus_trees.mmsa_pickle(tmp_path)
    (tmp_path / "aligned_50.pkl").write_bytes(b"")
    message = "aligned_50.pkl, unaligned_50.pkl: more than one pickle"
    assert message in fault(mmsa_pickle.read, tmp_path, corpus)
    assert "no .pkl file here" in fault(mmsa_pickle.read, tmp_path / "none", corpus)
