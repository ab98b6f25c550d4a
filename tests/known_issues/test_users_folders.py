"""Files that a user sees in a folder and the project did not (behind links, in another case or Unicode form), and the
other way round: hidden ones.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.corpora import csv, scp, subtitles
from pipeline.errors import UserError
from pipeline.features.importer import Source, _Folder, _namer
from pipeline.folders import files, spelt
from pipeline.prepare import prepare
from pipeline.tables.schema import read_utterances
from tests.pipeline import raw_folders

SRT = "1\n00:00:00,500 --> 00:00:01,500\nANNA: Hi.\n"


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def test_linked_splits_are_read_hidden_folders_are_not_and_loops_end(tmp_path):
    root = tmp_path / "corpus"
    for folder in ("corpus/train", "corpus/train/.ipynb_checkpoints", "elsewhere/val", "elsewhere/test"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "talk.srt").write_text(SRT)
    (root / "train/._talk.srt").write_bytes(b"\0\5")
    for split in ("val", "test"):
        (root / split).symlink_to(f"../elsewhere/{split}")
    (root / "train/loop").symlink_to("../../corpus")
    (root / "self").symlink_to("self")
    (root / "gone").symlink_to("nowhere")
    utterances, labels = subtitles.read(root, raw_folders.corpus("subtitles", root))
    assert list(utterances["dialogue"]) == ["test_talk", "train_talk", "val_talk"]
    assert list(labels["split"]) == ["test", "train", "val"]


def test_one_folder_under_two_names_is_an_error(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "train").symlink_to("pool")
    with pytest.raises(
        UserError, match=r"train and .*pool are the same folder, through a link; keep one of them"
    ):
        files(tmp_path, ".srt")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be read: Permission denied"):
        files(tmp_path, ".srt")


def test_imported_arrays_behind_links(tmp_path):
    for folder in ("arrays/a", "elsewhere", "arrays/.cache"):
        (tmp_path / folder).mkdir(parents=True)
        np.save(tmp_path / folder / f"{folder[-1]}.npy", np.zeros(3))
    (tmp_path / "arrays/b").symlink_to("../elsewhere")
    found = _Folder(Source(tmp_path / "arrays"), _namer(None, []))
    assert found.found == {"a/a", "b/e"}
    assert found.load("b/e")[1].shape == (3,)


def test_imported_arrays_of_names_in_another_unicode_form(tmp_path):
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays/e\u0301.npy", np.ones(3))
    assert _Folder(Source(tmp_path / "arrays"), _namer(None, ["\u00e9"])).found == {"\u00e9"}
    (tmp_path / "names.csv").write_bytes("file;utterance\n\u00e9.NPY;a\n".encode("utf-16"))
    named = _Folder(Source(tmp_path / "arrays"), _namer(tmp_path / "names.csv", ["a"]))
    assert named.found == {"a"}


@pytest.mark.parametrize(
    ("cell", "name"), [("Caf\u00e9.wav", "Cafe\u0301.wav"), ("Cafe\u0301.wav", "Caf\u00e9.wav")]
)
def test_a_name_in_another_unicode_form(tmp_path, cell, name):
    (tmp_path / "raw/Ete\u0301").mkdir(parents=True)
    (tmp_path / "raw/Ete\u0301" / name).write_bytes(b"sound")
    table = f"utterance,dialogue,turn,media,split\na,x,0,Et\u00e9/{cell},train\n"
    (tmp_path / "raw/own.csv").write_text(table, encoding="utf-8")
    corpus = raw_folders.corpus("csv", tmp_path / "raw")
    assert "1 of 1 media found" in prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv")
    [row] = read_utterances(tmp_path / "u.csv")
    assert row.media == f"Ete\u0301/{name}"
    assert row.media_hash


def test_spelling_keeps_fragments_and_absent_files(tmp_path):
    (tmp_path / "e\u0301.mp4").write_bytes(b"")
    half = "#xywh=percent:0,0,50,100"
    found = spelt([f"\u00e9.mp4{half}", "\u00e8.mp4", "a.mp4", ""], tmp_path)
    assert list(found.values()) == [f"e\u0301.mp4{half}", "\u00e8.mp4", "a.mp4", ""]


def test_annotation_files_in_upper_case(tmp_path):
    raw_folders.csv(tmp_path / "csv")
    (tmp_path / "csv/own.csv").rename(tmp_path / "csv/OWN.CSV")
    assert len(csv.read(tmp_path / "csv", raw_folders.corpus("csv", tmp_path / "csv"))[0]) == 5
    raw_folders.scp(tmp_path / "scp")
    (tmp_path / "scp/session5_valid.scp").rename(tmp_path / "scp/session5_valid.SCP")
    assert (
        len(scp.read(tmp_path / "scp", raw_folders.corpus("scp", tmp_path / "scp", raw_folders.FOUR))[0]) == 3
    )
