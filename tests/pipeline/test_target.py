"""Votes, several labels and numbers in labels.csv and in one's own csv."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.check import report
from pipeline.corpora import csv
from pipeline.errors import UserError
from pipeline.params import CorpusParams
from pipeline.prepare import prepare
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import Target, target_of

LABELS = ["joy", "anger", "2:1"]
HEAD = "utterance,dialogue,turn,split,emotion"


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("single", "joy", {"joy": 1}),
        ("single", "2:1", {"2:1": 1}),
        ("single", "", {}),
        ("values", "anger", {"anger": 1}),
        ("soft", "joy:3|anger:2", {"joy": 3, "anger": 2}),
        ("soft", "joy|anger|joy", {"joy": 2, "anger": 1}),
        ("soft", "joy:0.25|2:1:.75", {"joy": 0.25, "2:1": 0.75}),
        ("soft", "2:1", {"2:1": 1}),
        ("multi", "joy|2:1", {"joy": 1, "2:1": 1}),
    ],
)
def test_a_cell_is_read_as_the_target_says(kind, cell, expected):
    assert Target(LABELS, kind).shares(cell) == expected
    assert Target(LABELS, kind).mistake(cell) == ""


@pytest.mark.parametrize(
    ("kind", "cell", "said"),
    [
        ("single", "fear", "is not in corpus.labels (joy, anger, 2:1)"),
        ("single", "joy|anger", "corpus.target=soft reads votes, corpus.target=multi several labels"),
        ("multi", "joy|joy", "duplicate label 'joy'"),
        ("multi", "joy:3", "is not in corpus.labels"),
        ("multi", "joy|", "'' is not in corpus.labels"),
        ("soft", "joy:0", "'0' is not a number of votes above 0"),
        ("soft", "joy:-1|anger", "'-1' is not a number of votes above 0"),
        ("soft", "joy:1e999", "'1e999' is not a number of votes"),
        ("soft", "joy:three", "'three' is not a number of votes"),
        ("soft", "joy:3|fear:1", "'fear' is not in corpus.labels"),
        ("soft", "joy:3;anger:2", "is not in corpus.labels"),
    ],
)
def test_a_wrong_cell_says_why(kind, cell, said):
    assert said in Target(LABELS, kind).mistake(cell)


@given(st.dictionaries(st.sampled_from(LABELS), st.floats(1e-6, 1e6), min_size=1))
def test_votes_are_read_as_they_were_written(votes):
    cell = "|".join(f"{label}:{number!r}" for label, number in votes.items())
    assert Target(LABELS, "soft").shares(cell) == votes


def corpus(root, **changes) -> CorpusParams:
    return CorpusParams(
        **{"name": "csv", "watch": ".", "root": str(root), "labels": ["joy", "anger"], **changes}
    )


def prepared(root, lines: list[str], **changes):
    """Write own.csv, prepare it, and return labels.csv as text and as read."""
    (root / "own.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    params = corpus(root, **changes)
    prepare(params, root / "out/u.csv", root / "out/l.csv")
    table = read_labels(read_utterances(root / "out/u.csv"), target_of(params), root / "out/l.csv")
    return (root / "out/l.csv").read_text(encoding="utf-8"), table


def test_votes_and_several_labels_of_ones_own_csv(tmp_path):
    lines = [HEAD, "a1,a,0,train,joy:3|anger:2", "a2,a,1,train,", "b1,b,0,val,joy"]
    text, _ = prepared(tmp_path, lines, target="soft")
    assert text == "utterance,split,emotion\na1,train,joy:3|anger:2\na2,train,\nb1,val,joy\n"
    assert re.search(r"train +1 +1 +2\n", report(corpus(tmp_path, target="soft"), pictures=False))
    with pytest.raises(
        UserError, match=r"own.csv:2: emotion='joy:3\|anger:2': 'joy:3' is not in corpus.labels"
    ):
        csv.read(tmp_path, corpus(tmp_path, target="multi"))
    with pytest.raises(
        UserError, match=r"own.csv:2: emotion='joy:3\|anger:2': is not in .*corpus.target=soft"
    ):
        csv.read(tmp_path, corpus(tmp_path))


def test_numbers_of_ones_own_csv(tmp_path):
    lines = [f"{HEAD},valence,arousal", "a1,a,0,train,,-0.5,3", "a2,a,1,train,,,2e-1", "b1,b,0,val,,1,4"]
    numbers = {"target": "values", "values": ["arousal", "valence"], "labels": []}
    text, table = prepared(tmp_path, lines, **numbers)
    assert (
        text
        == "utterance,split,emotion,arousal,valence\na1,train,,3.0,-0.5\na2,train,,0.2,\nb1,val,,4.0,1.0\n"
    )
    assert table["arousal"].tolist() == [3.0, 0.2, 4.0]
    assert math.isnan(table["valence"][1])
    said = report(corpus(tmp_path, **numbers), pictures=False)
    assert "arousal in train: 2 rated, mean 1.60, sd 1.98, 0.2 to 3" in said
    assert "valence in test: 0 rated" in said


@pytest.mark.parametrize(
    ("changes", "cells", "said"),
    [
        ({"values": ["valence", "liking"]}, "valence", "missing column liking"),
        (
            {"values": ["valence"]},
            "valence",
            "own.csv:2: valence='high': must be a number, such as -1.5, or empty",
        ),
    ],
)
def test_wrong_columns_of_numbers_are_named(tmp_path, changes, cells, said):
    row = "a1,a,0,train,joy" + ",high" * len(cells.split(","))
    with pytest.raises(UserError, match=said):
        prepared(tmp_path, [f"{HEAD},{cells}", row], **changes)


def test_a_column_that_corpus_values_does_not_name_is_left_out(tmp_path):
    text, _ = prepared(tmp_path, [f"{HEAD},valence,arousal", "a1,a,0,train,joy,1,high"], values=["valence"])
    assert text == "utterance,split,emotion,valence\na1,train,joy,1.0\n"


def test_an_importer_without_the_numbers_says_so(tmp_path):
    (tmp_path / "train.scp").write_text("a b.wav joy\n")
    from pipeline.corpora import scp

    with pytest.raises(
        UserError, match=r"corpus.values: scp has no numbers named valence; choose from: none"
    ):
        scp.read(tmp_path, corpus(tmp_path, name="scp", values=["valence"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["joy"]}, "corpus.target=single needs at least 2 labels"),
        ({"target": "values"}, "corpus.target=values needs the names of columns"),
        ({"values": ["a", "a"]}, "duplicate value; keep each value once"),
        ({"values": ["emotion"]}, "is another column of the tables"),
        ({"target": "soft", "labels": ["a|b", "c"]}, "separates labels by `|`; rename the label"),
    ],
)
def test_params_that_fit_no_target_are_refused(changes, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        corpus(".", **changes)
