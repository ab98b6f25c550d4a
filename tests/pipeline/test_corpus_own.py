"""Lists, csv files and subtitles: what people bring themselves."""

from __future__ import annotations

import hashlib
import re

import pytest

from pipeline.corpora import csv, scp, subtitles
from pipeline.corpora.cues import read_cues
from pipeline.corpora.turns import turns
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.prepare import prepare
from pipeline.tables.schema import read_utterances
from tests.pipeline import raw_folders


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def test_scp_lists(tmp_path):
    utterances, labels = scp.read(tmp_path, raw_folders.scp(tmp_path))
    assert utterances[["utterance", "dialogue", "speaker", "session"]].to_numpy().tolist() == [
        ["Ses01F_impro01_F000", "Ses01F_impro01", "Ses01F", "1"],
        ["Ses01F_impro01_M000", "Ses01F_impro01", "Ses01M", "1"],
        ["Ses05M_script01_1_M003", "Ses05M_script01_1", "Ses05M", "5"],
    ]
    assert list(utterances["media"])[1:] == ["Session 1/a file.wav", "b.wav"]
    assert labels[["split", "emotion"]].to_numpy().tolist() == [
        ["train", "neutral"],
        ["train", "happiness"],
        ["val", "sadness"],
    ]


def test_scp_ids_of_another_corpus(tmp_path):
    (tmp_path / "my_test.scp").write_text("talk-a_2 x.wav joy\ntalk-a_1 y.wav joy\nlone z.wav anger\n")
    utterances, _ = scp.read(tmp_path, raw_folders.corpus("scp", tmp_path))
    assert utterances[["dialogue", "turn", "speaker", "session"]].to_numpy().tolist() == [
        ["lone", 0, "", ""],
        ["talk-a", 0, "", ""],
        ["talk-a", 1, "", ""],
    ]


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        (
            "train.scp",
            "a /etc/passwd neutral",
            r"train.scp:1: path='/etc/passwd': is outside .*; set corpus.root",
        ),
        (
            "train.scp",
            "a ../b.wav neutral",
            r"train.scp:1: media='../b.wav': must be a relative path that stays",
        ),
        ("train.scp", "a b.wav", r"train.scp:1: line='a b.wav': must be: id path label"),
        ("train.scp", "a b.wav bored", r"train.scp:1: emotion='bored': is not in corpus.labels"),
        (
            "list.scp",
            "a b.wav neutral",
            r"list.scp: split unknown; the file's name must contain one of train, val",
        ),
        ("training_test.scp", "", r"contain no utterance"),
    ],
)
def test_bad_scp(tmp_path, name, line, expected):
    (tmp_path / name).write_text(line + "\n")
    with pytest.raises(UserError, match=expected):
        scp.read(tmp_path, raw_folders.corpus("scp", tmp_path))


def test_two_lists_for_one_split(tmp_path):
    for session in "12":
        (tmp_path / f"session{session}_train.scp").write_text("a b.wav neutral\n")
    with pytest.raises(
        UserError, match=r"session2_train.scp: second list for the split train, after session1_train.scp"
    ):
        scp.read(tmp_path, raw_folders.corpus("scp", tmp_path))


def test_the_example_of_the_documentation(tmp_path):
    example = re.search(r"\n\n((?:    .*\n){10})\n", csv.__doc__)[1]
    (tmp_path / "own.csv").write_text(re.sub("^    ", "", example, flags=re.MULTILINE))
    prepare(raw_folders.corpus("csv", tmp_path), tmp_path / "out/u.csv", tmp_path / "out/l.csv")
    utterances = read_utterances(tmp_path / "out/u.csv")
    assert len(utterances) == 9
    assert utterances[1].text == "Morning, Anna."
    assert (utterances[4].start, utterances[4].end) == (None, None)
    assert (utterances[7].speaker, utterances[7].end) == ("", 4.0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a2,anna,1", "a2,anna,one", "own.csv:3: turn='one': must be a whole number"),
        ("a2,anna,1", "a1,anna,1", "own.csv:3: utterance='a1': duplicate utterance id; first at "),
        (",2.1,", ",soon,", "own.csv:3: start='soon': must be seconds, such as 0.4 or 83, or empty"),
        (",2.1,3.0", ",3.0,2.1", "own.csv:3: end='2.1': must be after start=3.0"),
        (",2.1,3.0", ",-1,3.0", "own.csv:3: start='-1.0': must be seconds, 0 or more"),
        (",2.1,3.0", ",nan,3.0", "own.csv:3: start='nan': must be seconds, such as"),
        ("anna.mp4,2.1", "../x.mp4,2.1", "own.csv:3: media='../x.mp4': must be a relative path"),
        ("3.0,train", "3.0,dev", "own.csv:3: split='dev': must be one of train, val, test"),
        ("3.0,train", "3.0,val", "own.csv:3: split='val': dialogue anna is in train at "),
        ("train,neutral", "train,calm", "own.csv:3: emotion='calm': is not in corpus.labels"),
        ('"Morning, Anna."', '"Morning, Anna.', "own.csv:3: not a well-formed csv row"),
        (",turn,", ",number,", "own.csv:1: missing column turn"),
        (
            ",start,",
            ",started,",
            "own.csv:1: the column `started` is unknown and resembles `start`, which is missing",
        ),
        (",start,", ",end,", "own.csv:1: duplicate column end"),
        ("a2,anna,1", "a2,anna,1,2", "own.csv:3: 11 values, but the header has 10 columns"),
    ],
)
def test_bad_csv(tmp_path, old, new, expected):
    corpus = raw_folders.csv(tmp_path)
    path = tmp_path / "own.csv"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        csv.read(tmp_path, corpus)
    assert expected in str(caught.value)


def test_two_csv_files(tmp_path):
    corpus = raw_folders.csv(tmp_path)
    (tmp_path / "more.csv").write_text("")
    with pytest.raises(UserError, match=r"more.csv, own.csv: more than one csv file; keep one"):
        csv.read(tmp_path, corpus)


def test_subtitles(tmp_path):
    utterances, labels = subtitles.read(tmp_path, raw_folders.subtitles(tmp_path))
    assert list(utterances["utterance"]) == [
        f"{d}_{i:04}" for d in ("call", "train_kitchen.en") for i in range(3)
    ]
    assert list(utterances["media"].unique()) == ["call.mp4", "train/kitchen.mkv"]
    assert list(utterances["text"][:3]) == ["Where have you been?", "Out.", "Look at this: it works."]
    assert list(utterances["speaker"][:3]) == ["ANNA", "", ""]
    assert utterances[["start", "end"]].to_numpy().tolist()[2] == [60.0, 62.0]
    assert labels["split"].tolist() == ["test"] * 3 + ["train"] * 3
    assert set(labels["emotion"]) == {""}


def test_subtitles_as_other_programs_write_them(tmp_path):
    path = tmp_path / "a.srt"
    path.write_bytes(
        "\ufeff00:00:03.5 --> 00:00:04.25 X1:10 X2:20\r\nLater.\r\n\r\n\r\n7\r\n01:02 --> 01:03\r\n\r\n"
        "1\r\n0:00:01,000 --> 0:00:02,000\r\nMrs. Smith: 12:30 it is\r\n".encode()
    )
    problems = Problems()
    found = turns(read_cues(path, problems), keep_tags=False)
    assert not problems.listed
    assert [(turn.start, turn.end, turn.speaker, turn.text) for turn in found] == [
        (1.0, 2.0, "Mrs. Smith", "12:30 it is"),
        (3.5, 4.25, "", "Later."),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "00:00:03,000 -->",
            "00:00:05,000 -->",
            "call.srt:7: line='00:00:05,000 --> 00:00:04,000': the cue ends at 4 s; it must end after its start at 5 s",
        ),
        (
            "00:00:03,000 -->",
            "-00:00:03,000 -->",
            "call.srt:7: line='-00:00:03,000 --> 00:00:04,000': the cue begins before",
        ),
        ("00:00:03,000 -->", "00:00:03,000 ->", "call.srt:7: line='00:00:03,000 -> 00:00:04,000': expected"),
    ],
)
def test_bad_subtitles(tmp_path, old, new, expected):
    corpus = raw_folders.subtitles(tmp_path)
    path = tmp_path / "call.srt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError) as caught:
        subtitles.read(tmp_path, corpus)
    assert expected in str(caught.value)


def test_sound_beside_the_pictures(tmp_path):
    corpus = raw_folders.corpus("csv", tmp_path / "raw")
    (tmp_path / "raw/mic").mkdir(parents=True)
    (tmp_path / "raw/talk.mp4").write_bytes(b"pictures")
    (tmp_path / "raw/mic/anna.wav").write_bytes(b"anna")
    (tmp_path / "raw/own.csv").write_text(
        "utterance,dialogue,turn,media,audio,start,end,split\n"
        "a,d,0,talk.mp4,mic\\anna.wav,1,2,train\n"
        'b,d,1,"talk.mp4#xywh=percent:50,0,50,100&channel=right",,2,3,train\n'
        'c,d,2,talk.mp4,"mic/ben.wav#channel=1&t=7.5,9",3,4,train\n'
        "d,d,3,,mic/anna.wav#t=0,,,train\n"
    )
    summary = prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    assert "2 of 3 media found" in summary
    assert f"not found under {tmp_path / 'raw'}: mic/ben.wav;" in summary
    a, b, c, d = read_utterances(tmp_path / "u.csv")
    anna, pictures = (hashlib.sha256(data).hexdigest() for data in (b"anna", b"pictures"))
    assert a.seen == ("talk.mp4", 1.0, 2.0, pictures)
    assert a.heard == ("mic/anna.wav", 1.0, 2.0, anna)
    assert b.heard == b.seen == ("talk.mp4#xywh=percent:50,0,50,100&channel=right", 2.0, 3.0, pictures)
    assert c.heard == ("mic/ben.wav#channel=1&t=7.5,9", 7.5, 9.0, "")
    assert d.heard == d.played == ("mic/anna.wav#t=0", None, None, anna)


def test_a_table_without_sound_of_its_own_is_as_before(tmp_path):
    corpus = raw_folders.csv(tmp_path / "raw")
    prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    header, *_ = (tmp_path / "u.csv").read_text().splitlines()
    assert header == "utterance,dialogue,turn,speaker,session,text,media,start,end,media_hash"
    assert all(u.heard == u.seen for u in read_utterances(tmp_path / "u.csv"))


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        (
            "media",
            "a.mp4#channel=middle",
            "media='a.mp4#channel=middle': channel=middle: must be left, right",
        ),
        ("media", '"a.mp4#xywh=percent:50,0,60,100"', "inside the picture"),
        ("media", "a.mp4#t=3", "give the utterance's seconds in `start` and `end`"),
        ("audio", "../a.wav", "audio='../a.wav': must be a relative path that stays inside corpus.root"),
        ("audio", "a.wav#t=3&t=4", "at most once"),
        ("audio", '"a.wav#xywh=percent:0,0,50,100"', "move it to `media`"),
        ("audio", "a" * 256, "at most 255 bytes"),
    ],
)
def test_wrong_parts_are_named(tmp_path, column, cell, expected):
    (tmp_path / "own.csv").write_text(f"utterance,dialogue,turn,{column},split\na,d,0,{cell},train\n")
    with pytest.raises(UserError) as caught:
        csv.read(tmp_path, raw_folders.corpus("csv", tmp_path))
    assert f"own.csv:2: {column}=" in str(caught.value)
    assert expected in str(caught.value)
