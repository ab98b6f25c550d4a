"""From cues to labels and back: the page and the csv of `pipeline.annotate` are read as a corpus."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from pipeline import prepare
from pipeline.annotate.__main__ import annotate
from pipeline.corpora import csv
from pipeline.errors import UserError
from tests.evaluate.test_report import Page
from tests.extract.make_clips import clip
from tests.pipeline import raw_folders


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def test_subtitles_become_a_table_to_fill_in(tmp_path):
    media = tmp_path / "media"
    corpus = raw_folders.subtitles(media)
    clip(media / "call.mp4", 2.0)
    said = annotate(corpus, tmp_path / "labels", as_stills=False)
    assert said.endswith("labels/annotate.html and annotations.csv: 6 utterances, 0 with a label")
    table = pd.read_csv(tmp_path / "labels/annotations.csv", keep_default_na=False)
    table["emotion"] = ["joy", "", "anger", "joy", "joy", ""]
    for path in media.rglob("*.srt"):
        path.unlink()
    table.to_csv(media / "annotations.csv", index=False)
    utterances, labels = csv.read(media, corpus.model_copy(update={"name": "csv"}))
    assert list(labels["emotion"]) == ["joy", "", "anger", "joy", "joy", ""]
    assert sorted(set(labels["split"])) == ["test", "train"]
    assert list(utterances["text"])[:2] == ["Where have you been?", "Out."]
    assert list(utterances["start"])[:3] == [1.0, 3.0, 60.0]


def test_the_page_shows_what_is_known_and_loses_nothing(tmp_path):
    corpus = raw_folders.csv(tmp_path / "media").model_copy(update={"values": ["valence"], "title": "Mine"})
    path = tmp_path / "media/own.csv"
    header, *rest = path.read_text().splitlines()
    path.write_text(
        "\n".join([f"{header},valence", *(f"{line},{i / 2}" for i, line in enumerate(rest))]) + "\n"
    )
    clip(tmp_path / "media/anna.mp4", 4.0)
    annotate(corpus, tmp_path / "labels", as_stills=False)
    page = Page((tmp_path / "labels/annotate.html").read_text())
    turns = page.all("li", class_="turn")
    assert [t["data-label"] for t in turns] == ["joy", "neutral", "anger", "fear", ""]
    assert {t["data-source"] for t in turns} == {"../media/anna.mp4", ""}
    assert [e["data-label"] for e in page.all("button") if "data-label" in e] == [*corpus.labels, ""]
    notes = [e["text"] for e in page.all("p", class_="notice")]
    assert notes == [f"{name}: not found under {tmp_path}/media" for name in ("bus/1.mp4", "call.wav")]
    before = prepare.read(corpus)
    (tmp_path / "labels/annotations.csv").rename(path)
    for found, known in zip(prepare.read(corpus), before, strict=True):
        assert found.drop(columns="place", errors="ignore").equals(
            known.drop(columns="place", errors="ignore")
        )


def test_a_corpus_of_one_split_is_split_after_labelling(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    for name in "abc":
        (media / f"{name}.srt").write_text(raw_folders.SRT)
    corpus = raw_folders.corpus("subtitles", media)
    annotate(corpus, tmp_path / "labels", as_stills=False)
    table = pd.read_csv(tmp_path / "labels/annotations.csv", keep_default_na=False)
    assert "split" not in table
    (tmp_path / "labels/annotations.csv").rename(media / "annotations.csv")
    _, labels = csv.read(media, corpus.model_copy(update={"name": "csv"}))
    assert sorted(labels["split"]) == ["test"] * 3 + ["train"] * 3 + ["val"] * 3


def test_labels_are_not_overwritten(tmp_path):
    corpus = raw_folders.csv(tmp_path / "media")
    annotate(corpus, tmp_path / "labels", as_stills=False)
    with pytest.raises(UserError, match=r"labels/annotations.csv: exists and may hold labels; move it"):
        annotate(corpus, tmp_path / "labels", as_stills=False)


@pytest.mark.parametrize("target", ["soft", "values"])
def test_votes_and_numbers_are_refused(tmp_path, target):
    corpus = raw_folders.csv(tmp_path / "media").model_copy(update={"target": target})
    with pytest.raises(
        UserError, match=re.escape(f"corpus.target={target}: the page takes labels, not votes")
    ):
        annotate(corpus, tmp_path / "labels", as_stills=False)


def test_an_utterance_may_have_several_labels(tmp_path):
    corpus = raw_folders.csv(tmp_path / "media").model_copy(update={"target": "multi"})
    path = tmp_path / "media/own.csv"
    path.write_text(path.read_text().replace(",joy", ",joy|surprise"))
    annotate(corpus, tmp_path / "labels", as_stills=False)
    page = Page((tmp_path / "labels/annotate.html").read_text())
    (body,) = page.all("body")
    assert body["data-several"] == "|"
    assert "a key adds or removes one" in page.all("p", class_="lead")[0]["text"]
    turns = page.all("li", class_="turn")
    assert [t["data-label"] for t in turns] == ["joy|surprise", "neutral", "anger", "fear", ""]
    before = prepare.read(corpus)
    table = (tmp_path / "labels/annotations.csv").rename(path)
    for found, known in zip(prepare.read(corpus), before, strict=True):
        assert found.drop(columns="place", errors="ignore").equals(
            known.drop(columns="place", errors="ignore")
        )
    table.write_text(table.read_text().replace("neutral", "neutral|fear"))
    assert list(prepare.read(corpus)[1]["emotion"]) == ["joy|surprise", "neutral|fear", "anger", "fear", ""]


def test_one_label_takes_one_key(tmp_path):
    annotate(raw_folders.csv(tmp_path / "media"), tmp_path / "labels", as_stills=False)
    page = Page((tmp_path / "labels/annotate.html").read_text())
    (body,) = page.all("body")
    assert "data-several" not in body
    assert "goes on to the next turn" in page.all("p", class_="lead")[0]["text"]
