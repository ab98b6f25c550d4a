"""The choice of train, val and test: by session, by dialogue, and by speaker."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.tables.schema import Utterance
from pipeline.tables.splits import splits

# dialogue → (session, speakers)
RAVDESS = {f"clip{i:03}": (str(i // 40), [f"actor {i // 10}"]) for i in range(240)}
IEMOCAP = {f"Ses{s}_{i:02}": (str(s), [f"F{s}", f"M{s}"]) for s in range(1, 6) for i in range(10)}
FRIENDS = {f"d{i:02}": ("", ["Ross", ["Joey", "Rachel", "Phoebe"][i % 3]]) for i in range(30)}


def corpus(layout: dict[str, tuple[str, list[str]]]) -> tuple[pd.DataFrame, list[Utterance]]:
    """Return the two tables; every third dialogue of the first is val, every tenth test."""
    rows = [
        Utterance(f"{d}_u{t}", d, t, speakers[t % len(speakers)], session, "", "", None, None, "")
        for d, (session, speakers) in layout.items()
        for t in range(4)
    ]
    place = {d: i for i, d in enumerate(layout)}
    column = [
        "test" if place[u.dialogue] % 10 == 0 else "val" if place[u.dialogue] % 3 == 0 else "train"
        for u in rows
    ]
    return pd.DataFrame({"utterance": [u.utterance for u in rows], "split": column}), rows


def heard(rows: list[Utterance], part: np.ndarray, split: str) -> set[tuple[str, str]]:
    return {(u.session, u.speaker) for u, there in zip(rows, part, strict=True) if there == split}


@pytest.mark.parametrize("val", ["any", "speaker"])
def test_a_dialogue_lies_in_one_split_and_the_fold_is_test(val):
    labels, rows = corpus(RAVDESS)
    part = splits(labels, rows, 3, 1, val)
    assert {u.session for u, p in zip(rows, part, strict=True) if p == "test"} == {"3"}
    assert len({(u.dialogue, p) for u, p in zip(rows, part, strict=True)}) == len(RAVDESS)
    assert len({u.dialogue for u, p in zip(rows, part, strict=True) if p == "val"}) == 20  # 10% of 200
    assert (splits(labels, rows, 3, 1, val) == part).all()
    assert (splits(labels, rows, 3, 2, val) != part).any()


def test_without_a_fold_the_split_is_the_tables():
    labels, rows = corpus(RAVDESS)
    assert (splits(labels, rows, "none", 1) == labels["split"].to_numpy(str)).all()


@pytest.mark.parametrize("fold", ["none", "3"])
@pytest.mark.parametrize("seed", range(5))
def test_no_speaker_is_in_train_and_val(fold, seed):
    labels, rows = corpus(RAVDESS)
    part = splits(labels, rows, fold, seed, "speaker")
    assert heard(rows, part, "train") & heard(rows, part, "val") == set()
    assert {*part} == {"train", "val", "test"}
    if fold == "none":  # test stays the table's
        assert ((part == "test") == (labels["split"] == "test")).all()
    assert heard(rows, splits(labels, rows, fold, seed), "val") & heard(
        rows, splits(labels, rows, fold, seed), "train"
    )


def test_speakers_who_talk_to_each_other_stay_together():
    """IEMOCAP: val is one whole session of the four that are left."""
    labels, rows = corpus(IEMOCAP)
    found = {frozenset(heard(rows, splits(labels, rows, "5", seed, "speaker"), "val")) for seed in range(20)}
    assert found == {frozenset({(str(s), f"F{s}"), (str(s), f"M{s}")}) for s in range(1, 5)}


def test_one_name_in_two_sessions_is_two_speakers():
    layout = {d: (session, ["F", "M"]) for d, (session, _) in IEMOCAP.items()}
    labels, rows = corpus(layout)
    assert {s for s, _ in heard(rows, splits(labels, rows, "5", 0, "speaker"), "val")} < {"1", "2", "3", "4"}


def test_a_corpus_whose_dialogues_share_speakers_is_refused():
    labels, rows = corpus(FRIENDS)
    with pytest.raises(
        UserError, match=r"27 of the 27 dialogues outside test share speakers.*set `val: any`"
    ):
        splits(labels, rows, "none", 0, "speaker")


def test_an_utterance_without_a_speaker_is_refused():
    labels, rows = corpus(RAVDESS | {"clip005": ("0", [""])})
    with pytest.raises(UserError, match=r"utterance 'clip005_u0' has no speaker, which `val: speaker` needs"):
        splits(labels, rows, "none", 0, "speaker")


def test_an_unknown_session_is_named():
    labels, rows = corpus(IEMOCAP)
    with pytest.raises(UserError, match=r"train\.fold=9: no such session; choose one of .*: 1, 2, 3, 4, 5"):
        splits(labels, rows, 9, 1)
    with pytest.raises(UserError, match=r"train\.fold=1: fewer than two dialogues are left"):
        splits(*corpus({"a": ("1", ["A"]), "b": ("2", ["B"])}), 1, 0)
