"""Raw corpus to tables: both or neither, media hashed once, and where the files are looked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import prepare as module
from pipeline.corpora import REGISTRY
from pipeline.errors import UserError
from pipeline.prepare import hash_media, prepare, read
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import Target
from tests.pipeline import raw_folders

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def test_writes_both_tables_with_hashes(tmp_path):
    corpus = raw_folders.meld(tmp_path / "raw")
    clip = tmp_path / "raw/train_splits/dia0_utt3.mp4"
    clip.parent.mkdir()
    clip.write_bytes(b"clip")
    summary = prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    utterances = read_utterances(tmp_path / "u.csv")
    hashes = {u.utterance: u.media_hash for u in utterances}
    assert hashes.pop("train_dia0000_utt03") == hashlib.sha256(b"clip").hexdigest()
    assert set(hashes.values()) == {""}
    assert {u.utterance: u.turn for u in utterances if u.dialogue == "train_dia0000"} == {
        "train_dia0000_utt00": 0,
        "train_dia0000_utt03": 1,
    }
    assert (
        list(read_labels(utterances, Target(corpus.labels), tmp_path / "l.csv")["split"]).count("train") == 4
    )
    assert "train 4, val 1, test 1" in summary
    assert "1 of 6 media found" in summary


def test_a_bad_corpus_leaves_the_old_tables(tmp_path):
    corpus = raw_folders.meld(tmp_path / "raw")
    paths = tmp_path / "u.csv", tmp_path / "l.csv"
    prepare(corpus, *paths)
    before = [path.read_bytes() for path in paths]
    broken = tmp_path / "raw/test_sent_emo.csv"
    broken.write_bytes(broken.read_bytes().replace(b"disgust", b"disgusted"))
    with pytest.raises(UserError, match=r"test_sent_emo.csv:2: emotion='disgusted'"):
        prepare(corpus, *paths)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.csv", "raw", "u.csv"]


def test_the_same_corpus_gives_the_same_bytes_with_media_elsewhere(tmp_path, monkeypatch):
    corpus = raw_folders.meld(tmp_path / "raw")
    (tmp_path / "clips/train_splits").mkdir(parents=True)
    (tmp_path / "clips/train_splits/dia0_utt0.mp4").write_bytes(b"clip")
    (tmp_path / "raw/train_splits").symlink_to(tmp_path / "clips/train_splits")
    prepare(corpus, tmp_path / "u1.csv", tmp_path / "l.csv")
    (tmp_path / "raw/train_splits").unlink()
    monkeypatch.setenv("EMOFUSE_MEDIA", str(tmp_path / "clips"))
    prepare(corpus, tmp_path / "u2.csv", tmp_path / "l.csv")
    assert (tmp_path / "u1.csv").read_bytes() == (tmp_path / "u2.csv").read_bytes()


def test_annotations_are_found_where_the_media_are(tmp_path, monkeypatch):
    there = raw_folders.meld(tmp_path / "elsewhere")
    here = there.model_copy(update={"root": str(tmp_path / "data/meld")})
    monkeypatch.setenv("EMOFUSE_MEDIA", there.root)
    assert len(read(here)[0]) == 6
    monkeypatch.setenv("EMOFUSE_MEDIA", str(tmp_path))
    with pytest.raises(UserError, match=r"data/meld: no train_sent_emo.csv .*EMOFUSE_MEDIA") as caught:
        read(here)
    assert str(tmp_path) in str(caught.value)


def test_a_file_of_many_utterances_is_read_once(tmp_path, monkeypatch):
    raw_folders.wav(tmp_path / "a.wav", raw_folders.np.zeros(10))
    opened = []
    digest = module._sha256
    monkeypatch.setattr(module, "_sha256", lambda path: opened.append(path) or digest(path))
    halves = [f"a.wav#xywh=percent:{x},0,50,100" for x in (0, 50)]
    hashes = hash_media(["a.wav", *halves, "a.wav", "b.wav", ""], tmp_path)
    assert opened.count(tmp_path / "a.wav") == 1
    assert (
        hashes[halves[0]] == hashes["a.wav"] == hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    )
    assert hashes["b.wav"] == hashes[""] == ""


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "clip.mp4")
    assert hash_media(["clip.mp4"], tmp_path) == {"clip.mp4": ""}


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"x")
    monkeypatch.setattr(
        Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(UserError, match=r"clip.mp4: cannot be read: Permission denied"):
        hash_media(["clip.mp4"], tmp_path)


def test_an_unknown_corpus_lists_the_known(tmp_path):
    with pytest.raises(UserError, match=f"unknown corpus; choose one of {', '.join(REGISTRY)}"):
        read(raw_folders.corpus("mold", tmp_path))


def test_the_stage_shows_a_mistake_without_a_traceback(tmp_path):
    params = (ROOT / "presets/meld-text.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "pipeline.prepare"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: data/meld: no train_sent_emo.csv")
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "data").exists()
