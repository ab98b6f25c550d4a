"""A csv file without splits, and one with columns of its own: refused before, whatever the spreadsheet held."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from pipeline.corpora import csv
from pipeline.corpora.raw import Row
from pipeline.corpora.split import drawn
from pipeline.errors import UserError
from pipeline.prepare import prepare
from tests.pipeline import raw_folders


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch):
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


def rows(dialogues: int, seed: int = 0) -> list[Row]:
    """Dialogues of 5 to 15 turns; a tenth of the utterances are angry."""
    rng = random.Random(seed)
    return [
        Row("own.csv:2", f"u{d}_{t}", f"d{d}", (t,), "", "", "", rng.choices(["joy", "anger"], [9, 1])[0])
        for d in range(dialogues)
        for t in range(rng.randint(5, 15))
    ]


def parts(found: list[Row]) -> dict[str, str]:
    return {row.dialogue: row.split for row in found}


def test_whole_dialogues_are_split_by_seed_in_equal_shares_of_emotions():
    found = drawn(rows(200), 0, "own.csv")
    assert len({(row.dialogue, row.split) for row in found}) == 200
    counts = Counter(row.split for row in found)
    assert {split: round(count / len(found), 2) for split, count in counts.items()} == {
        "train": 0.8, "val": 0.1, "test": 0.1,
    }  # fmt: skip
    angry = Counter(row.split for row in found if row.emotion == "anger")
    assert {round(angry[split] / counts[split], 2) for split in counts} <= {0.1, 0.11}
    shuffled = rows(200)
    random.Random(1).shuffle(shuffled)
    assert drawn(shuffled, 0, "own.csv") == found
    assert parts(drawn(rows(200), 1, "own.csv")) != parts(found)


@pytest.mark.parametrize("dialogues", [3, 4, 9, 10, 12])
def test_small_corpora_have_every_split(dialogues):
    splits = {tuple(parts(drawn(rows(dialogues), seed, "own.csv")).values()) for seed in range(8)}
    assert all(set(found) == {"train", "val", "test"} for found in splits)
    assert len(splits) > 1


def test_labels_rarer_than_the_parts_do_not_prevent_a_split():
    few = [Row("own.csv:2", f"u{d}", f"d{d}", (0,), "", "", "", f"label{d}") for d in range(5)]
    assert Counter(row.split for row in drawn(few, 0, "own.csv")) == {"train": 3, "val": 1, "test": 1}


def test_two_dialogues_are_too_few():
    with pytest.raises(UserError, match=r"own.csv: no split is given, and 2 dialogues are too few"):
        drawn(rows(2), 0, "own.csv")


@pytest.mark.parametrize("how", ["no column", "empty column"])
def test_prepare_says_that_it_split(tmp_path, how):
    corpus = raw_folders.csv(tmp_path)
    text = (tmp_path / "own.csv").read_text()
    for split in ("train", "val", "test"):
        text = text.replace(f",{split},", "," if how == "no column" else ",,")
    (tmp_path / "own.csv").write_text(text.replace(",split,", ",") if how == "no column" else text)
    said = prepare(corpus, tmp_path / "out/u.csv", tmp_path / "out/l.csv")
    assert f"{tmp_path}/own.csv: no split is given, so whole dialogues were split at random by" in said
    assert "corpus.split_seed=0, stratified by emotion" in said
    labels = csv.read(tmp_path, corpus)[1]
    assert sorted(labels["split"].unique()) == ["test", "train", "val"]
    other = csv.read(tmp_path, corpus.model_copy(update={"split_seed": 3}))[1]
    assert list(other["split"]) != list(labels["split"])


def test_columns_of_ones_own_are_ignored_and_named_in_one_line(tmp_path):
    corpus = raw_folders.csv(tmp_path)
    expected = csv.read(tmp_path, corpus)
    lines = (tmp_path / "own.csv").read_text().splitlines()
    header, *rest = lines
    text = [f",{header},Notes,Notes,rater 2", *(f"{i},{line},,x,joy" for i, line in enumerate(rest))]
    (tmp_path / "own.csv").write_text("\n".join(text) + "\n")
    for found, before in zip(csv.read(tmp_path, corpus), expected, strict=True):
        assert found.equals(before)
    said = prepare(corpus, tmp_path / "out/u.csv", tmp_path / "out/l.csv").splitlines()
    assert [line.strip() for line in said if "ignored" in line] == [
        f"{tmp_path}/own.csv: ignored columns: (no name), Notes, rater 2"
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("emotions", "emotion"), ("speaker_id", "speaker"), ("Texts", "text"), ("ends", "end")],
)
def test_a_misspelt_column_is_an_error_that_names_both(tmp_path, name, meant):
    corpus = raw_folders.csv(tmp_path)
    header, *rest = (tmp_path / "own.csv").read_text().splitlines()
    misspelt = header.replace(f",{meant}", f",{name}")
    (tmp_path / "own.csv").write_text("\n".join([misspelt, *rest]) + "\n")
    with pytest.raises(
        UserError, match=rf"own.csv:1: the column `{name}` is unknown and resembles `{meant}`"
    ):
        csv.read(tmp_path, corpus)
    # Beside the column that it resembles, it is a column of one's own.
    both = [f"{header},{name}", *(f"{line},x" for line in rest)]
    (tmp_path / "own.csv").write_text("\n".join(both) + "\n")
    assert len(csv.read(tmp_path, corpus)[0]) == 5
