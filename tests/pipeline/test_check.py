"""`prepare --check`: it names what will give no feature, before hours of extraction."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.check import report
from pipeline.errors import UserError
from pipeline.probe import probe
from tests.extract.make_clips import clip
from tests.pipeline import raw_folders

ROOT = Path(__file__).parents[2]
TONE = 0.3 * np.sin(np.arange(16000) / 5)


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def test_media_of_every_kind_of_trouble(tmp_path):
    corpus = raw_folders.meld(tmp_path)
    train = tmp_path / "train_splits"
    # The reader looks at what is inside, not at the name: sound alone is enough here.
    raw_folders.wav(train / "dia0_utt0.mp4", TONE)
    raw_folders.wav(train / "dia0_utt3.mp4", 0 * TONE)
    raw_folders.wav(train / "dia10_utt0.mp4", np.tile(TONE, 70))
    (train / "dia2_utt1.mp4").write_bytes(b"no video at all")
    (train / "final_videos_testdia0_utt0.mp4").write_bytes(b"x")
    (train / "._dia0_utt0.mp4").write_bytes(b"\0\5\x16\7")
    lines = report(corpus, pictures=False).splitlines()
    assert "media: 4 of 6 files found" in "\n".join(lines)
    found = {line.partition(":")[0]: line for line in lines}
    assert found["missing files"] == (
        "missing files: 2: dev_splits_complete/dia0_utt0.mp4, output_repeated_splits_test/dia0_utt0.mp4"
    )
    assert "1: train_splits/dia2_utt1.mp4 (Invalid data" in found["undecodable files"]
    assert found["silent"] == "silent: 1: train_dia0000_utt03 (train_splits/dia0_utt3.mp4, 1.0 s)"
    assert found["longer than 60 s"].endswith("1: train_dia0010_utt00 (train_splits/dia10_utt0.mp4, 70.0 s)")
    extra = found["extra files, used by no utterance"]
    assert ": 2: " in extra
    assert "._dia0_utt0.mp4" in extra
    assert "final_videos_testdia0_utt0.mp4" in extra


def test_spans_are_judged_one_by_one(tmp_path):
    raw_folders.wav(tmp_path / "call.wav", np.concatenate([TONE, 0 * TONE]))
    (tmp_path / "own.csv").write_text(
        "utterance,dialogue,turn,media,start,end,split\n"
        "a,d,0,call.wav,0,0.9,train\nb,d,1,call.wav,1.2,1.9,train\nc,d,2,call.wav,2.5,3,train\n"
    )
    text = report(raw_folders.corpus("csv", tmp_path), pictures=False)
    assert "silent: 2: b (call.wav, 0.7 s), c (call.wav, 0.5 s)" in text
    assert "begin after their file's end: 1: c (call.wav, 0.5 s)" in text
    assert "utterances without text: 3: a, b, c" in text
    assert "utterances without an emotion: 3: a, b, c" in text


def test_spans_past_their_files_end_are_named(tmp_path):
    raw_folders.wav(tmp_path / "call.wav", TONE)
    (tmp_path / "own.csv").write_text(
        "utterance,dialogue,turn,media,start,end,split\n"
        "a,d,0,call.wav,0.2,5,train\nb,d,1,call.wav,0.2,1.05,train\nc,d,2,call.wav,,,train\nd,d,3,call.wav,1.5,2,train\n"
    )
    text = report(raw_folders.corpus("csv", tmp_path), pictures=False)
    assert "\nend after their file's end: 1: a (call.wav, 4.8 s)\n" in text
    assert "\nbegin after their file's end: 1: d (call.wav, 0.5 s)\n" in text


def test_clips_of_another_length_than_the_annotation_says(tmp_path):
    corpus = raw_folders.meld(tmp_path)
    train = tmp_path / "train_splits"
    raw_folders.wav(train / "dia0_utt0.mp4", TONE)
    raw_folders.wav(train / "dia0_utt3.mp4", np.tile(TONE, 4))
    text = report(corpus, pictures=False)
    assert (
        "\ndiffer from their annotation by more than 0.5 s: 1: train_dia0000_utt03 (train_splits/dia0_utt3.mp4, 4.0 s, "
        "annotated 1.0 s)\n"
    ) in text


def test_files_without_a_picture_are_named_where_one_is_asked_for(tmp_path):
    corpus = raw_folders.corpus("subtitles", tmp_path)
    clip(tmp_path / "talk.mp4", 1.0)
    raw_folders.wav(tmp_path / "call.wav", TONE)
    for name in ("talk", "call"):
        (tmp_path / f"{name}.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\nHi.\n")
    assert "\nwithout a picture: 1: call.wav\n" in report(corpus, pictures=True)
    assert "without a picture" not in report(corpus, pictures=False)


@pytest.mark.parametrize("name", ["csv", "subtitles"])
def test_the_annotation_itself_is_no_extra_file(tmp_path, name):
    if name == "csv":
        (tmp_path / "own.csv").write_text("utterance,dialogue,turn,media,split\na,d,0,talk.wav,train\n")
    else:
        (tmp_path / "talk.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\nHi.\n")
    for file in ("talk.wav", "left.wav"):
        raw_folders.wav(tmp_path / file, TONE)
    text = report(raw_folders.corpus(name, tmp_path), pictures=False)
    assert text.endswith(f"extra files, used by no utterance: 1: {tmp_path}/left.wav")


def test_counts_stand_beside_the_published(tmp_path):
    text = report(raw_folders.meld(tmp_path), pictures=False)
    assert (
        "DIFFERS from the published counts in train: neutral, surprise, fear, sadness, joy, disgust, anger"
        in text
    )
    row = next(line for line in text.splitlines() if line.split()[0] == "published")
    assert row.split()[1:] == ["4710", "1205", "268", "683", "1743", "271", "1109", "9989"]
    assert "speakers in more than one split: 0" in text


def test_speakers_in_two_splits(tmp_path):
    corpus = raw_folders.csv(tmp_path)
    assert "speakers in more than one split: 1: Anna" in report(corpus, pictures=False)


def test_mistakes_of_the_annotation_are_listed(tmp_path):
    corpus = raw_folders.meld(tmp_path)
    path = tmp_path / "train_sent_emo.csv"
    path.write_bytes(path.read_bytes().replace(b",0,3,", b",0,0,").replace(b"anger", b"rage"))
    with pytest.raises(UserError) as caught:
        report(corpus, pictures=False)
    assert "2 invalid values" in str(caught.value)
    assert "utterance='train_dia0000_utt00': duplicate utterance id; first at" in str(caught.value)
    assert "emotion='rage'" in str(caught.value)


def test_a_playlist_is_not_followed(tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"")
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nsecret.wav\n")
    assert probe(path).error


def test_the_command_writes_nothing(tmp_path):
    corpus = raw_folders.meld(tmp_path / "raw")
    params = (ROOT / "presets/meld-text.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        params.replace("root: data/meld", f"root: {corpus.root}"), encoding="utf-8"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "pipeline.prepare", "--check"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("meld: 6 utterances, 5 dialogues, 5 speakers")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "raw"]


def test_sound_beside_the_pictures_is_checked_too(tmp_path):
    clip(tmp_path / "talk.mp4", 2.0, audio=False)
    raw_folders.wav(tmp_path / "anna.wav", TONE)
    raw_folders.wav(tmp_path / "room.wav", np.stack([TONE, 0 * TONE], 1))
    (tmp_path / "own.csv").write_text(
        "utterance,dialogue,turn,media,audio,start,end,split\n"
        "a,d,0,talk.mp4,anna.wav,0.1,0.9,train\n"
        "b,d,1,talk.mp4,anna.wav,1.2,1.9,train\n"
        "c,d,2,talk.mp4,anna.wav#t=0.5,1.4,1.9,train\n"
        'd,d,3,talk.mp4,"anna.wav#t=0.5,1.9",1.4,1.9,train\n'
        "e,d,4,talk.mp4,ben.wav,0,1,train\n"
        "f,d,5,talk.mp4,anna.wav#channel=right,0,0.9,train\n"
        "g,d,6,talk.mp4,room.wav#channel=left,0,0.9,train\n"
        "h,d,7,talk.mp4,room.wav#channel=right,0,0.9,train\n"
        "i,d,8,,room.wav#channel=3,0,0.9,train\n"
    )
    found = {
        line.partition(":")[0]: line.partition(":")[2].strip()
        for line in report(raw_folders.corpus("csv", tmp_path), pictures=True).splitlines()
    }
    assert found["media"].startswith("3 of 4 files found")
    assert found["missing files"] == "1: ben.wav"
    assert found["without a sound track"] == "0"  # the sound of talk.mp4 is not used
    assert (
        found["without the channel that their row names"] == "2: anna.wav#channel=right, room.wav#channel=3"
    )
    assert found["without a picture"] == "0"
    assert found["silent"] == "2: b (anna.wav, 0.7 s), h (room.wav#channel=right, 0.9 s)"
    assert found["begin after their file's end"] == "1: b (anna.wav, 0.7 s)"
    assert found["end after their file's end"] == "1: d (anna.wav#t=0.5,1.9, 1.4 s)"
    assert found["sound differs from its pictures by more than 0.5 s"] == "1: d (anna.wav#t=0.5,1.9, 1.4 s)"
    assert found["extra files, used by no utterance"] == "0"
