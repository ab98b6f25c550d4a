"""IEMOCAP: labels by `corpus.labels`, folds by session, the speaker's half of the picture."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import fragments
from pipeline.corpora import iemocap
from pipeline.errors import UserError
from pipeline.prepare import prepare
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.splits import splits
from pipeline.tables.target import Target
from tests.pipeline import raw_folders


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def test_six_emotions(tmp_path):
    utterances, labels = iemocap.read(tmp_path, raw_folders.iemocap(tmp_path))
    first = utterances[utterances["session"] == "1"]
    assert list(first["utterance"].str[-4:]) == ["F000", "M000", "M001", "F003"]
    assert list(labels["emotion"][:4]) == ["neutral", "excitement", "frustration", "happiness"]
    assert list(first["speaker"]) == ["Ses01F", "Ses01M", "Ses01M", "Ses01F"]
    assert list(first["text"]) == ["Excuse me.", "Do you have your forms?", "Let me see them.", ""]
    assert list(labels["split"]) == ["train"] * 4 + ["test"] * 4


def test_four_emotions_take_excitement_for_happiness(tmp_path):
    _, labels = iemocap.read(tmp_path, raw_folders.iemocap(tmp_path, raw_folders.FOUR))
    assert list(labels["emotion"][:3]) == ["neutral", "happiness", "happiness"]


def test_tags_are_kept_on_demand(tmp_path):
    utterances, _ = iemocap.read(tmp_path, raw_folders.iemocap(tmp_path, keep_tags=True))
    assert list(utterances["text"][1:4]) == [
        "[LAUGHTER] Do you have your forms?",
        "Let me see them.",
        "[LAUGHTER]",
    ]


def test_published_counts():
    six = raw_folders.corpus("iemocap", "x", raw_folders.IEMOCAP)
    four = raw_folders.corpus("iemocap", "x", raw_folders.FOUR)
    assert sum(iemocap.published(six)["all"].values()) == 7380
    assert iemocap.published(six)["all"]["happiness"] == 595
    assert "7,433" in " ".join(iemocap.notes(six))
    assert iemocap.published(four)["all"] == {
        "happiness": 1636,
        "neutral": 1708,
        "sadness": 1084,
        "anger": 1103,
    }


def test_sound_without_videos_is_the_sentence(tmp_path):
    utterances, _ = iemocap.read(tmp_path, raw_folders.iemocap(tmp_path))
    assert utterances["media"][0] == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert utterances["start"].isna().all()


@pytest.mark.parametrize("sentences", [True, False])
def test_videos_are_cut_to_the_speakers_half_and_time(tmp_path, sentences):
    corpus = raw_folders.iemocap(tmp_path / "IEMOCAP_full_release")
    folder = tmp_path / "IEMOCAP_full_release/Session1/dialog/avi/DivX"
    folder.mkdir(parents=True)
    (folder / "Ses01F_impro01.avi").write_bytes(b"avi")
    sentence = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    if sentences:
        raw_folders.wav(tmp_path / "IEMOCAP_full_release" / sentence, np.zeros(100))
    corpus = corpus.model_copy(update={"root": str(tmp_path)})
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    woman, man = read_utterances(tmp_path / "u.csv")[:2]
    file = "IEMOCAP_full_release/Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    # Ses01F: the woman wears the markers, and sits on the left.
    own = (None, None) if sentences else ("left", "right")
    assert fragments.split(woman.media) == fragments.Cell(file, fragments.LEFT, own[0])
    assert fragments.split(man.media) == fragments.Cell(file, fragments.RIGHT, own[1])
    if sentences:
        assert woman.heard[:3] == (f"IEMOCAP_full_release/{sentence}#t=0", None, None)
        assert woman.audio_hash != ""
        assert man.audio_hash == ""  # the release lacks this sentence
    else:
        assert woman.heard == woman.seen
    assert (man.start, man.end) == (10.01, 11.3925)
    assert woman.media_hash == man.media_hash != ""


def test_every_session_can_be_held_out(tmp_path):
    corpus = raw_folders.iemocap(tmp_path / "raw")
    dialog = tmp_path / "raw/Session1/dialog/EmoEvaluation"
    for name in ("Ses01F_impro02", "Ses01M_impro01"):
        (dialog / f"{name}.txt").write_text(f"[1.0 - 2.0]\t{name}_F000\tsad\t[2.0, 2.0, 2.0]\n")
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    utterances = read_utterances(tmp_path / "u.csv")
    labels = read_labels(utterances, Target(corpus.labels), tmp_path / "l.csv")
    held = splits(labels, utterances, 5, seed=0)
    assert {s for u, s in zip(utterances, held, strict=True) if u.session == "5"} == {"test"}
    assert {s for u, s in zip(utterances, held, strict=True) if u.session == "1"} == {"train", "val"}


def test_val_is_every_tenth_dialogue_whatever_the_labels(tmp_path):
    dialog = tmp_path / "Session2/dialog/EmoEvaluation"
    dialog.mkdir(parents=True)
    for number in range(20):
        name = f"Ses02F_impro{number:02}"
        code = "sad" if number != 4 else "fru"
        (dialog / f"{name}.txt").write_text(f"[1.0 - 2.0]\t{name}_F000\t{code}\t[2.0, 2.0, 2.0]\n")
    for labels in (raw_folders.IEMOCAP, raw_folders.FOUR):
        utterances, table = iemocap.read(tmp_path, raw_folders.corpus("iemocap", tmp_path, labels))
        assert list(utterances.loc[table["split"] == "val", "dialogue"]) == [
            "Ses02F_impro05",
            "Ses02F_impro15",
        ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("\tneu\t", "\tneutral\t", "Ses01F_impro01.txt:3: emotion='neutral': must be one of hap"),
        ("[6.2901 - 8.2357]", "[8.2357 - 6.2901]", "Ses01F_impro01.txt:3: span='8.2357 - 6.2901'"),
        ("[6.2901 - 8.2357]", "[six - 8.2357]", "Ses01F_impro01.txt:3: span='six - 8.2357'"),
        ("Ses01F_impro01_F000\t", "Ses01F_impro02_F000\t", "Ses01F_impro01.txt:3: turn name"),
        ("Ses01F_impro01_F000\t", "../../../secret\t", "Ses01F_impro01.txt:3: turn name"),
        (
            "Ses01F_impro01_M000\t",
            "Ses01F_impro01_F000\t",
            "utterance='Ses01F_impro01_F000': duplicate utterance id",
        ),
        ("\tneu\t", " neu ", "Ses01F_impro01.txt:3: line="),
    ],
)
def test_bad_lines(tmp_path, old, new, expected):
    corpus = raw_folders.iemocap(tmp_path)
    path = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        iemocap.read(tmp_path, corpus)
    assert expected in str(caught.value)
