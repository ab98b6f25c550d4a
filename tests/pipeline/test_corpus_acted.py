"""RAVDESS, EmoDB, MER and the lists of EmoBox: each clip is a dialogue of one turn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.corpora import emobox, emodb, mer, ravdess
from pipeline.prepare import prepare
from tests.pipeline import corpus_trees, raw_folders
from tests.pipeline.corpus_trees import edited, fault

REAL = Path(os.environ.get("EMOFUSE_DATA", "/nonexistent")) / "emobox"


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def test_ravdess_from_file_names(tmp_path):
    utterances, labels = ravdess.read(tmp_path, corpus_trees.ravdess(tmp_path))
    assert list(utterances["utterance"]) == [
        "01-01-01-02-01-01", "01-01-01-02-01-17", "01-01-01-02-01-24", "01-05-01-02-01-01", "01-05-01-02-01-17",
        "01-05-01-02-01-24",
    ]  # fmt: skip
    assert list(labels["emotion"]) == ["neutral"] * 3 + ["anger"] * 3
    assert list(labels["split"]) == ["train", "val", "test"] * 2
    assert list(utterances["session"]) == ["1", "5", "6"] * 2
    assert list(utterances["speaker"][:3]) == ["actor 1", "actor 17", "actor 24"]
    assert set(utterances["text"]) == {"Dogs are sitting by the door."}
    assert utterances["media"][1] == "Actor_17/03-01-01-01-02-01-17.wav"


def test_all_24_actors_give_the_published_counts(tmp_path):
    corpus = corpus_trees.ravdess(tmp_path, actors=())
    for actor in range(1, 25):
        (tmp_path / f"Actor_{actor:02}").mkdir()
        for emotion in range(1, 9):
            for intensity in "12"[: 1 if emotion == 1 else 2]:
                for statement in "12":
                    for repetition in "12":
                        name = f"03-01-0{emotion}-0{intensity}-0{statement}-0{repetition}-{actor:02}.wav"
                        (tmp_path / f"Actor_{actor:02}" / name).write_bytes(b"")
    _, labels = ravdess.read(tmp_path, corpus)
    assert len(labels) == 1440
    assert {"all": labels["emotion"].value_counts().to_dict()} == ravdess.published(corpus)
    assert labels["split"].value_counts().to_dict() == {"train": 960, "val": 240, "test": 240}


def test_pictures_and_sound_of_one_take_are_one_utterance(tmp_path):
    corpus = corpus_trees.ravdess(tmp_path, actors=(1,))
    for name in ("01-01-01-01-02-01-01.mp4", "02-01-01-01-02-01-01.mp4", "02-01-02-01-02-01-01.mp4"):
        (tmp_path / "Actor_01" / name).write_bytes(b"")
    (tmp_path / "Actor_01/03-02-04-01-02-01-01.wav").write_bytes(b"song")
    utterances, _ = ravdess.read(tmp_path, corpus)
    cells = list(zip(utterances["media"], utterances["audio"], strict=True))
    assert cells == [
        ("Actor_01/01-01-01-01-02-01-01.mp4", "Actor_01/03-01-01-01-02-01-01.wav"),
        ("Actor_01/02-01-02-01-02-01-01.mp4", ""),
        ("Actor_01/03-01-05-01-02-01-01.wav", ""),
    ]


@pytest.mark.parametrize(
    "name",
    ["03-01-09-01-02-01-01.wav", "03-01-05-01-02-01-25.wav", "03-01-05-01-02-01.wav", "a.wav", "é.wav"],
)
def test_ravdess_with_a_wrong_name(tmp_path, name):
    corpus = corpus_trees.ravdess(tmp_path)
    (tmp_path / "Actor_01" / name).write_bytes(b"")
    message = fault(ravdess.read, tmp_path, corpus)
    assert f"Actor_01/{name}: name={name!r}: must have a form such as 03-01-01-01-01-01-01.wav" in message


def test_a_copy_of_ravdess_that_holds_every_file_twice(tmp_path):
    corpus = corpus_trees.ravdess(tmp_path, actors=(1,))
    corpus_trees.ravdess(tmp_path / "audio_speech_actors_01-24", actors=(1,))
    message = fault(ravdess.read, tmp_path, corpus)
    assert f"duplicate of {tmp_path}/Actor_01/03-01-01-01-02-01-01.wav; keep one of the two" in message


def test_emodb_from_file_names(tmp_path):
    utterances, labels = emodb.read(tmp_path, corpus_trees.emodb(tmp_path))
    assert list(labels["emotion"]) == ["anger", "neutral", "happiness", "fear", "boredom"]
    assert list(labels["split"]) == ["train", "train", "val", "test", "test"]
    assert list(utterances["session"]) == ["03", "03", "12", "15", "16"]
    assert utterances["text"][3] == "Heute abend könnte ich es ihm sagen."
    assert utterances["media"][0] == "wav/03a01Wa.wav"


@pytest.mark.parametrize("name", ["04a01Wa.wav", "03a03Wa.wav", "03a01Xa.wav", "03a01W.wav"])
def test_emodb_with_a_wrong_name(tmp_path, name):
    corpus = corpus_trees.emodb(tmp_path)
    (tmp_path / "wav" / name).write_bytes(b"")
    assert f"wav/{name}: name={name!r}: must have a form such as 03a01Wa.wav" in fault(
        emodb.read, tmp_path, corpus
    )


@pytest.mark.parametrize(
    ("read", "tree", "message"),
    [
        (ravdess.read, corpus_trees.ravdess, "no clips here, such as Actor_01/03-01-01-01-01-01-01.wav"),
        (emodb.read, corpus_trees.emodb, "no clips here, such as wav/03a01Wa.wav"),
        (mer.read, corpus_trees.mer, "no labels of MER's train clips here (looked for train-label.csv"),
        (emobox.read, corpus_trees.emobox, "no lists of EmoBox here"),
    ],
)
def test_an_empty_folder(tmp_path, read, tree, message):
    (tmp_path / "empty").mkdir()
    assert message in fault(read, tmp_path / "empty", tree(tmp_path / "full"))


def test_mer_2023(tmp_path):
    corpus = corpus_trees.mer(tmp_path)
    utterances, labels = mer.read(tmp_path, corpus)
    split = dict(zip(labels["utterance"], labels["split"], strict=True))
    assert [name for name, part in split.items() if part == "val"] == ["sample_00000009", "sample_00000019"]
    assert [name for name, part in split.items() if part == "test"] == ["sample_00000020", "sample_00000021"]
    media = dict(zip(utterances["utterance"], utterances["media"], strict=True))
    assert media["sample_00000001"] == "train/sample_00000001.mp4"
    assert media["sample_00000020"].endswith("/sample_00000020.mp4")
    assert utterances["text"][1] == "你好。"
    assert "1 of 22 media found" in prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")


@pytest.mark.parametrize(
    "name", ["label-disdim.csv", "track1_train_disdim.csv", "mer2023train/train-label.csv"]
)
def test_mer_of_other_years_without_labels_of_test(tmp_path, name):
    corpus = corpus_trees.mer(tmp_path)
    (tmp_path / "test1-label.csv").unlink()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "train-label.csv").rename(tmp_path / name)
    _, labels = mer.read(tmp_path, corpus)
    assert labels["split"].value_counts().to_dict() == {"train": 16, "val": 2, "test": 2}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sample_00000003,sad",
            "sample_00000003,sadly",
            "train-label.csv:5: emotion='sadly': is not in corpus.labels",
        ),
        (
            "sample_00000003",
            "sample_00000002",
            "train-label.csv:5: utterance='sample_00000002': duplicate utterance id",
        ),
        ("discrete", "emotion", "train-label.csv:1: missing column discrete"),
        ("sample_00000003", "../secret", "train-label.csv:5: media='"),
    ],
)
def test_mer_with_a_fault(tmp_path, old, new, message):
    corpus = corpus_trees.mer(tmp_path)
    edited(tmp_path / "train-label.csv", old, new)
    assert message in fault(mer.read, tmp_path, corpus)


def test_emobox_folds_are_sessions(tmp_path):
    utterances, labels = emobox.read(tmp_path, corpus_trees.emobox(tmp_path))
    assert list(utterances["utterance"]) == [
        "emodb-03a02Wb",
        "emodb-08a04Nc",
        "emodb-10a01Fa",
        "emodb-16b09La",
    ]
    assert list(labels["emotion"]) == ["angry", "neutral", "happy", "boredom"]
    assert list(utterances["session"]) == ["1", "2", "1", "2"]
    assert list(labels["split"]) == ["test", "train", "test", "train"]
    assert utterances["media"][0] == "wav/03a02Wb.wav"


def test_emobox_with_one_fold_has_no_sessions_and_ignores_lists_of_the_older_form(tmp_path):
    corpus = corpus_trees.emobox(tmp_path, folds=1)
    (tmp_path / "fold_1/emodb_test_fold1.jsonl").write_text('{"key": "emodb-03a02Wb", "label": "anger"}\n')
    utterances, _ = emobox.read(tmp_path, corpus)
    assert set(utterances["session"]) == {""}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"emo": "neutral"', '"emo": "bored"', "emotion='bored': is not in corpus.labels"),
        ('"emo": "neutral"', '"emotion": "neutral"', "emodb_train_fold_1.jsonl:1: emo: missing"),
        ("emodb-16b09La", "emodb-08a04Nc", "emodb_train_fold_1.jsonl:2: key='emodb-08a04Nc': duplicate clip"),
        ("emodb-16b09La", "emodb-16b09Lb", "key='emodb-16b09La': is not in fold 1"),
        (
            "downloads/emodb/wav/08",
            "downloads/emodb/../08",
            "must be a relative path that stays inside corpus.root",
        ),
        ('{"key"', '{"key', "emodb_train_fold_1.jsonl:1: not valid JSON"),
    ],
)
def test_emobox_with_a_fault(tmp_path, old, new, message):
    corpus = corpus_trees.emobox(tmp_path)
    edited(tmp_path / "fold_1/emodb_train_fold_1.jsonl", old, new)
    assert message in fault(emobox.read, tmp_path, corpus)


def test_emobox_clips_that_share_a_file(tmp_path):
    corpus = corpus_trees.emobox(tmp_path)
    path = tmp_path / "fold_1/emodb_test_fold_1.jsonl"
    path.write_text(
        path.read_text().replace('"channel": 1', '"channel": 1, "start_time": 2.5, "end_time": 4.0')
    )
    utterances, _ = emobox.read(tmp_path, corpus)
    assert (utterances["start"][0], utterances["end"][0]) == (2.5, 4.0)


@pytest.mark.skipif(not REAL.is_dir(), reason="EMOFUSE_DATA holds no emobox")
@pytest.mark.parametrize(
    ("name", "clips", "folds"), [("emodb", 535, 5), ("ravdess", 1440, 6), ("iemocap", 5531, 5)]
)
def test_the_real_lists(name, clips, folds):
    labels = ["angry", "boredom", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    utterances, found = emobox.read(REAL / name, raw_folders.corpus("emobox", REAL / name, labels))
    assert len(utterances) == clips
    assert utterances["session"].nunique() == folds
    if name == "emodb":
        expected = {
            "angry": 127,
            "boredom": 81,
            "disgust": 46,
            "fear": 69,
            "happy": 71,
            "sad": 62,
            "neutral": 79,
        }
        assert found["emotion"].value_counts().to_dict() == expected
