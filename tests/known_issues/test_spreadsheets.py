"""Tables as spreadsheets write them were refused without a cure, or read as other numbers (`0_4` as 4)."""

from __future__ import annotations

import pytest

from pipeline.corpora import csv, iemocap, meld
from pipeline.errors import UserError
from pipeline.names import is_inside
from pipeline.tables.schema import read_utterances
from tests.pipeline import raw_folders

PLAIN = raw_folders.OWN


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (PLAIN, "utf-8-sig"),
        (PLAIN, "utf-16"),
        (PLAIN.replace(",", "\t").replace('"Morning\t Anna."', "Morning, Anna."), "utf-16"),
        (PLAIN.replace(",", ";").replace("Morning; Anna.", "Morning, Anna."), "utf-8"),
        ("sep=,\r\n" + PLAIN.replace("\n", "\r\n"), "utf-8"),
        ('"sep=;"\n' + PLAIN.replace(",", ";").replace("Morning; Anna.", "Morning, Anna."), "utf-8-sig"),
        (PLAIN.replace("\n", "\r"), "utf-8"),
        (PLAIN.replace("\n", ",,,\n"), "utf-8"),
        (PLAIN.replace("joy\n", "joy,,\n"), "utf-8"),
        (PLAIN + ",,,,,,,,,\n\n , ,,,,,,,,\n\n", "utf-8"),
        (PLAIN.replace("utterance,dialogue,turn", "Utterance, DIALOGUE ,turn"), "utf-8"),
        (PLAIN.replace("anna,0,", "anna,0.0,").replace("anna,1,", "anna,1.0,"), "utf-8"),
        (PLAIN.replace("train,joy", " train , joy ").replace(",Ben,", ",Ben\u00a0,"), "utf-8"),
        (PLAIN.replace("bus/1.mp4", "bus\\1.mp4").replace("call.wav", ".\\call.wav"), "utf-8"),
        (PLAIN.replace("bus/1.mp4", "./bus//1.mp4"), "utf-8"),
    ],
)
def test_every_way_of_writing_gives_the_same_rows(tmp_path, text, encoding):
    corpus = raw_folders.csv(tmp_path / "plain")
    expected = [
        frame.drop(columns="place", errors="ignore") for frame in csv.read(tmp_path / "plain", corpus)
    ]
    (tmp_path / "own.CSV").write_bytes(text.encode(encoding))
    found = csv.read(tmp_path, corpus)
    for a, b in zip(found, expected, strict=True):
        assert a.drop(columns="place", errors="ignore").equals(b)
    assert list(found[0]["place"])[:1] == [f"{tmp_path}/own.CSV:{3 if 'sep=' in text else 2}"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.4,1.9", "0_4,1_9", "own.csv:2: start='0_4': must be seconds, such as 0.4"),
        ("0.4,1.9", "٠.٤,1.9", "own.csv:2: start='٠.٤': must be seconds"),
        ("0.4,1.9", "0.4,infinity", "own.csv:2: end='infinity': must be seconds"),
        ("0.4,1.9", '0.4,"1,9"', "own.csv:2: end='1,9': must be seconds, such as 0.4"),
        ("anna,1,", "anna,1_0,", "own.csv:3: turn='1_0': must be a whole number"),
        ("anna,1,", "anna,١,", "own.csv:3: turn='١': must be a whole number"),
        ("anna,1,", "anna,1.5,", "own.csv:3: turn='1.5': must be a whole number"),
        ("anna.mp4,0.4", "C:\\clips\\anna.mp4,0.4", "own.csv:2: media='C:/clips/anna.mp4': must be a relative path"),
        ("anna.mp4,0.4", "\\\\server\\anna.mp4,0.4", "own.csv:2: media='//server/anna.mp4': must be a relative path"),
        ("Good morning!", "Good\0morning!", "own.csv:2: contains a zero byte"),
        ("Good morning!", "Good morning, all!", "own.csv:2: 11 values, but the header has 10 columns; put quotes"),
        ("text,media", "text,medias", "own.csv:1: the column `medias` is unknown and resembles `media`"),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_place_and_the_cure(tmp_path, old, new, said):
    corpus = raw_folders.csv(tmp_path)
    path = tmp_path / "own.csv"
    path.write_text(PLAIN.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        csv.read(tmp_path, corpus)
    assert said in str(caught.value)


def test_the_pipelines_own_table_and_iemocap_read_no_other_numbers_either(tmp_path):
    path = tmp_path / "utterances.csv"
    path.write_text(
        "utterance,dialogue,turn,speaker,session,text,media,start,end,media_hash\na,x,0_1,,,,a.wav,0_4,٩,\n"
    )
    with pytest.raises(UserError, match="3 invalid values"):
        read_utterances(path)
    corpus = raw_folders.iemocap(tmp_path / "release")
    file = tmp_path / "release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    file.write_text(file.read_text().replace("6.2901", "6_2901"))
    with pytest.raises(UserError, match=r"Ses01F_impro01.txt:3: span='6_2901 - 8.2357'"):
        iemocap.read(tmp_path / "release", corpus)


def test_a_published_table_in_utf_16(tmp_path):
    corpus = raw_folders.meld(tmp_path)
    path = tmp_path / "train_sent_emo.csv"
    path.write_bytes(path.read_bytes().decode().encode("utf-16"))
    assert len(meld.read(tmp_path, corpus)[0]) == 6


def test_a_windows_path_is_outside():
    assert not is_inside("C:/x.wav")
    assert is_inside("a:b/x.wav")
    assert is_inside("C/x.wav")


def test_a_known_column_in_capitals_is_read_and_not_called_ignored(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("Utterance,Dialogue,Turn,Split,Text,Notes\na,d,0,train,Hello,mine\n")
    utterances, _ = csv.read(tmp_path, raw_folders.corpus("csv", tmp_path))
    assert list(utterances["text"]) == ["Hello"]
    assert csv.notes(raw_folders.corpus("csv", tmp_path)) == [f"{path}: ignored columns: Notes"]
