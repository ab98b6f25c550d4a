"""utterances.csv and labels.csv: every bad row is named."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import (
    LABEL_COLUMNS,
    UTTERANCE_COLUMNS,
    dialogues,
    parties,
    read_utterances,
    write_table,
    write_utterances,
)
from pipeline.tables.target import Target

NAMES = ["joy", "anger"]


def table(count: int = 6, **columns) -> pd.DataFrame:
    rows = {
        "utterance": [f"d{i // 3}_u{i % 3}" for i in range(count)],
        "dialogue": [f"d{i // 3}" for i in range(count)],
        "turn": [i % 3 for i in range(count)],
        "speaker": ["Ann", "Bo", "Ann"] * (count // 3),
        "session": [str(i // 3) for i in range(count)],
        "text": ['He said "no",\nthen left.', "", "Ünïcode …"] * (count // 3),
        "media": [f"a folder/clip {i}.mp4" for i in range(count)],
        "start": [None] * count,
        "end": [None] * count,
        "media_hash": ["a" * 64] * count,
    }
    return pd.DataFrame({**rows, **columns})


def labels(count: int = 6, **columns) -> pd.DataFrame:
    rows = {
        "utterance": [f"d{i // 3}_u{i % 3}" for i in range(count)],
        "split": [["train", "val", "test"][i // 3 % 3] for i in range(count)],
        "emotion": [NAMES[i % 2] for i in range(count)],
    }
    return pd.DataFrame({**rows, **columns})


@pytest.fixture
def utterances(tmp_path):
    write_table(table(), UTTERANCE_COLUMNS, tmp_path / "utterances.csv")
    return read_utterances(tmp_path / "utterances.csv")


def message(read) -> str:
    with pytest.raises(UserError) as caught:
        read()
    return str(caught.value)


def test_round_trip_keeps_every_character(utterances):
    assert [u.text for u in utterances] == table()["text"].tolist()
    assert [u.turn for u in utterances] == [0, 1, 2, 0, 1, 2]
    assert utterances[0].start is None
    groups = list(dialogues(utterances))
    assert [[u.utterance for u in g] for g in groups] == [
        ["d0_u0", "d0_u1", "d0_u2"],
        ["d1_u0", "d1_u1", "d1_u2"],
    ]
    assert parties(groups[0]) == [0, 1, 0]


def test_spans_survive(tmp_path):
    path = tmp_path / "utterances.csv"
    write_table(table(start=[0.1 + 0.2] * 6, end=[1e3] * 6), UTTERANCE_COLUMNS, path)
    assert [(u.start, u.end) for u in read_utterances(path)] == [(0.1 + 0.2, 1e3)] * 6


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("utterance", "d0_u0", "utterance='d0_u0': duplicate utterance id; first in line 2"),
        ("utterance", "", "utterance=''"),
        ("utterance", "a\x1bb", "control characters"),
        ("turn", "two", "turn='two'"),
        ("turn", -1, "turn='-1'"),
        ("turn", 0, "sorted by dialogue"),
        ("start", "nan", "start='nan'"),
        ("media", "../../etc/passwd", "inside corpus.root"),
        ("media", "/etc/passwd", "inside corpus.root"),
        ("media_hash", "abc", "sha256"),
        ("media", "a.mp4#channel=0", "channel=0: must be left, right, or a number from 1"),
        ("audio", "/etc/passwd", "inside corpus.root"),
        ("audio", "a.wav#t=2,1", "t=2,1: must be START or START,END"),
        ("audio_hash", "abc", "sha256"),
    ],
)
def test_bad_values_are_named_with_their_line(tmp_path, column, value, said):
    frame = table(audio="a.wav", audio_hash="").astype(object)
    frame.loc[1, column] = value
    path = tmp_path / "utterances.csv"
    write_utterances(frame, path)
    text = message(lambda: read_utterances(path))
    assert str(path) in text
    assert said in text
    # The first row's text has a line break, so the second row begins in line 4.
    assert "line 4: " in text or "line 5: " in text


def test_all_bad_rows_come_at_once_and_the_list_is_bounded(tmp_path):
    path = tmp_path / "utterances.csv"
    write_table(table(300, turn=["x"] * 300), UTTERANCE_COLUMNS, path)
    text = message(lambda: read_utterances(path))
    assert "and " in text.splitlines()[-1]
    assert text.count("turn='x'") <= 20


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'utterance,"', b"utterance\n" * 3])
def test_files_that_are_no_table_are_refused(tmp_path, data):
    path = tmp_path / "utterances.csv"
    path.write_bytes(data)
    assert str(path) in message(lambda: read_utterances(path))


def test_labels_come_in_the_utterances_order(tmp_path, utterances):
    path = tmp_path / "labels.csv"
    write_table(labels().iloc[::-1], LABEL_COLUMNS, path)
    assert read_labels(utterances, Target(NAMES), path)["utterance"].tolist() == [
        u.utterance for u in utterances
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"emotion": ["joyful"] * 6}, "emotion='joyful': is not in corpus.labels (joy, anger)"),
        ({"split": ["dev"] * 6}, "split='dev': must be one of train, val, test"),
        ({"split": ["train", "test", "train"] * 2}, "dialogue d0 is in train in an earlier row"),
        ({"utterance": [f"x{i}" for i in range(6)]}, "utterance='x0': is not in utterances.csv"),
    ],
)
def test_bad_labels_are_named(tmp_path, utterances, change, said):
    path = tmp_path / "labels.csv"
    write_table(labels(**change), LABEL_COLUMNS, path)
    assert said in message(lambda: read_labels(utterances, Target(NAMES), path))


def test_a_missing_label_row_is_named(tmp_path, utterances):
    path = tmp_path / "labels.csv"
    write_table(labels().iloc[:-1], LABEL_COLUMNS, path)
    assert "utterance='d1_u2': has no row" in message(lambda: read_labels(utterances, Target(NAMES), path))
