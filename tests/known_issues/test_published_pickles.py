"""Published pickles that ended in a traceback, lost a stream, or grew without bound once they were read."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from pipeline.corpora.pickles import __main__ as published
from pipeline.corpora.pickles import layouts
from pipeline.errors import UserError
from pipeline.tables.schema import read_utterances
from tests.pipeline.published import TURNS, dialogue_rnn, save


def tuple_of(entries: dict) -> tuple:
    return tuple(entries.values())


def nested(depth: int) -> list:
    """Ten references to one list, which has ten to another: 10^depth numbers in a few hundred bytes."""
    found: list = [1.0] * 10
    for _ in range(depth):
        found = [found] * 10
    return found


def test_lists_that_share_one_another_are_refused_at_once(tmp_path):
    entries = dialogue_rnn()
    entries["text"] = {d: [nested(12)] * n for d, n in TURNS.items()}
    begin = time.process_time()
    with pytest.raises(UserError, match="expected lists of numbers"):
        layouts.read([save(tmp_path / "x.pkl", tuple_of(entries))])
    assert time.process_time() - begin < 10


def test_one_vector_for_all_turns_is_no_more_than_its_file(tmp_path):
    turns = {f"Ses01M_impro{i:04}": 200 for i in range(50)}
    entries = dialogue_rnn(turns, list(turns)[:40])
    one = np.ones(2000, np.float32)
    entries |= {role: {d: [one] * n for d, n in turns.items()} for role in ("text", "audio", "visual")}
    with pytest.raises(UserError, match="more numbers than bytes"):
        layouts.read([save(tmp_path / "x.pkl", tuple_of(entries))])
    entries |= {"labels": dict.fromkeys(turns, [0] * 5000), "speakers": dict.fromkeys(turns, "M"), "ids": {}}
    with pytest.raises(UserError, match="more labels than bytes"):
        layouts.read([save(tmp_path / "x.pkl", tuple_of(entries))])


@pytest.mark.slow
@pytest.mark.parametrize("role", ["text", "speakers", "sentences", "ids"])
def test_one_large_value_for_all_turns_is_refused_before_it_is_copied(tmp_path, role):
    """In 5 MB, 1,000 turns share a row of 500,000 numbers, or a string of 5,000,000 characters."""
    turns = {f"Ses01M_impro{i:04}": 100 for i in range(10)}
    entries = dialogue_rnn(turns, list(turns)[:8])
    shared = "x" * 5_000_000 if role in ("sentences", "ids") else [1.0] * 500_000
    entries[role] = {d: [shared] * n for d, n in turns.items()}
    path = save(tmp_path / "x.pkl", tuple_of(entries))
    tracemalloc.start()
    try:
        with pytest.raises(
            UserError, match=r"because it repeats|a sentence has 5,000,000|neither a name nor a one-hot"
        ):
            layouts.read([path])
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


def test_a_sentence_again_and_again_is_refused(tmp_path):
    turns = {f"Ses01M_impro{i:04}": 200 for i in range(50)}
    entries = dialogue_rnn(turns, list(turns)[:40])
    entries["sentences"] = {d: ["x" * 20_000] * n for d, n in turns.items()}
    with pytest.raises(UserError, match="more text than bytes"):
        layouts.read([save(tmp_path / "x.pkl", tuple_of(entries))])


@pytest.mark.parametrize("labels", [["joy"], ["joy", "joy"], ["joy", ""]])
def test_bad_names_of_labels_are_one_message(tmp_path, labels):
    with pytest.raises(UserError, match="labels"):
        published.convert([save(tmp_path / "x.pkl", tuple_of(dialogue_rnn()))], tmp_path / "data", labels)


@pytest.mark.parametrize(
    ("role", "value", "expected"),
    [
        ("speakers", ["one", "hot"], "a speaker is neither a name nor a one-hot vector"),
        pytest.param("labels", 1 << 20_000, "a label is not a whole number from 0 to", id="huge"),
    ],
)
def test_values_of_other_kinds_are_one_message(tmp_path, role, value, expected):
    entries = dialogue_rnn()
    entries[role] = {d: [value] * n for d, n in TURNS.items()}
    with pytest.raises(UserError, match=expected):
        layouts.read([save(tmp_path / "x.pkl", tuple_of(entries))])


def test_half_a_character_is_replaced(tmp_path):
    entries = dialogue_rnn()
    entries["sentences"] = {d: ["Oh \ud83d!"] * n for d, n in TURNS.items()}
    published.convert([save(tmp_path / "x.pkl", tuple_of(entries))], tmp_path / "data")
    assert {u.text for u in read_utterances(tmp_path / "data/utterances.csv")} == {"Oh ?!"}


def test_two_files_of_one_modality_are_not_one(tmp_path):
    entries = dialogue_rnn()
    files = [save(tmp_path / f"{name}.pkl", entries["text"]) for name in ("Text_a", "Text_b")]
    with pytest.raises(UserError, match=r"Text_a.pkl and .*Text_b.pkl: both contain text features"):
        layouts.read([save(tmp_path / "x.pkl", tuple_of(entries)), *files])


def test_parties_of_different_dialogues_are_different_people(tmp_path):
    """`train.normalise: speaker` would else take the P0 of every dialogue, test included, for one person."""
    entries = dialogue_rnn()
    entries["speakers"] = {d: [np.eye(2)[i % 2] for i in range(n)] for d, n in TURNS.items()}
    found = layouts.read([save(tmp_path / "x.pkl", tuple_of(entries))])
    people = [name for names in found.speakers.values() for name in set(names)]
    assert len(people) == len(set(people))
