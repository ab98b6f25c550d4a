"""Which turns and tokens a text encoder reads."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.extract import tiny_models
from tests.extract.talks import TALK, encoder, spelt, talk


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    return tiny_models.texts(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")


# Short: everything fits. Limited: what is nearest, in whole turns. One turn: no context. The byte-level
# vocabulary also knows what its merges pass through: "Ġso" on the way to "Ġsorry", "Ġa" to "Ġare".
GOLDEN = {
    ("bert", "short"): (
        "[CLS] ann : you are late again ! bob : i am so sorry . [SEP] ann : { are you really ? } "
        "[SEP] bob : no . ann : what now ? [SEP]"
    ),
    (
        "bert",
        "limited",
    ): "[CLS] bob : i am so sorry . [SEP] ann : { are you really ? } [SEP] bob : no . [SEP]",
    ("bert", "one turn"): "[CLS] ann : { are you really ? } [SEP]",
    ("roberta", "short"): (
        "<s> _Ann : _ Y o u _are _late _a g a i n ! _Bob : _ I _a m _so _sorry . </s> </s> "
        "_Ann : { _A r e _you _ r e a l l y ? } </s> </s> _Bob : _ N o . _Ann : _ W h a t _ n o w ? </s>"
    ),
    ("roberta", "limited"): (
        "<s> _Bob : _ I _a m _so _sorry . </s> </s> _Ann : { _A r e _you _ r e a l l y ? } </s> </s> "
        "_Bob : _ N o . </s>"
    ),
    ("roberta", "one turn"): "<s> _Ann : { _A r e _you _ r e a l l y ? } </s>",
}
BUDGET = {("bert", "limited"): 22, ("roberta", "limited"): 40}


@pytest.mark.parametrize(("kind", "case"), GOLDEN)
def test_golden_token_sequences(checkpoints, kind, case):
    enc = encoder(checkpoints[kind], past=3, future=3, tokens=BUDGET.get((kind, case), 64))
    dialogue, i = (talk(TALK[2:3]), 0) if case == "one turn" else (talk(), 2)
    item = enc.item(dialogue, i)
    assert spelt(enc, item) == GOLDEN[kind, case]
    assert item.length == len(item.content["ids"])
    assert item.note == ""


@pytest.mark.parametrize(
    ("past", "future", "seen"),
    [
        (0, 0, "[CLS] ann : { are you really ? } [SEP]"),
        (1, 0, "[CLS] bob : i am so sorry . [SEP] ann : { are you really ? } [SEP]"),
        (0, 1, "[CLS] ann : { are you really ? } [SEP] bob : no . [SEP]"),
    ],
)
def test_the_window_is_what_the_params_say(checkpoints, past, future, seen):
    enc = encoder(checkpoints["bert"], past, future)
    assert spelt(enc, enc.item(talk(), 2)) == seen


def test_a_budget_is_filled_to_the_last_token(checkpoints):
    full = len(GOLDEN["bert", "short"].split()) - 2
    for tokens in range(16, full + 3):
        enc = encoder(checkpoints["bert"], 3, 3, tokens)
        item = enc.item(talk(), 2)
        assert item.length <= tokens
        assert (item.length == full) == (tokens >= full)


def test_a_side_ends_at_the_first_turn_that_does_not_fit(checkpoints):
    turns = [("Ann", "No."), ("Bob", "so " * 30), ("Ann", "Really?"), ("Bob", "What?"), ("Ann", "Now!")]
    enc = encoder(checkpoints["bert"], 3, 3, 24)
    seen = spelt(enc, enc.item(talk(turns), 2))
    assert seen == "[CLS] ann : { really ? } [SEP] bob : what ? ann : now ! [SEP]"


def test_a_turn_longer_than_the_budget_is_cut_with_a_note(checkpoints):
    enc = encoder(checkpoints["bert"], 3, 3, 16)
    item = enc.item(talk([("Ann", "no " * 40), ("Bob", "No.")]), 0)
    assert spelt(enc, item) == "[CLS] ann : { " + "no " * 12 + "} [SEP]"
    assert item.note == "cut to the first 12 of 40 tokens"


def test_a_long_name_leaves_half_of_the_room(checkpoints):
    enc = encoder(checkpoints["bert"], 0, 0, 16)
    item = enc.item(talk([("ann bob " * 20, "so " * 20)]), 0)
    assert item.content["own"] == [8, 15]
    assert item.length == 16


def test_no_warning_and_no_cut_in_a_short_turn_beside_a_long_one(checkpoints, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        item = encoder(checkpoints["bert"]).item(talk([("Ann", "so " * 400), ("Bob", "No.")]), 1)
    assert item.note == ""
    assert not caplog.records


@pytest.mark.parametrize("text", ["", "  \t ", "\u200b\u200b", "\x07"])
def test_an_utterance_without_words_has_no_text(checkpoints, text):
    turns = [("Ann", "No."), ("Bob", text), ("Ann", "What?")]
    enc = encoder(checkpoints["bert"])
    assert enc.item(talk(turns), 1).status == "no_text"
    assert spelt(enc, enc.item(talk(turns), 2)) == "[CLS] ann : no . [SEP] ann : { what ? } [SEP]"


def test_special_tokens_written_in_a_text_are_only_text(checkpoints):
    enc = encoder(checkpoints["bert"])
    ids = enc.item(talk([("Ann", "no [SEP] [CLS] no")]), 0).content["ids"]
    assert ids.count(3) == 1
    assert ids.count(2) == 1


def test_a_speaker_without_a_name_has_no_colon(checkpoints):
    enc = encoder(checkpoints["bert"])
    assert spelt(enc, enc.item(talk([("", "No.")]), 0)) == "[CLS] { no . } [SEP]"


def test_an_edited_sentence_changes_exactly_the_items_whose_context_it_enters(checkpoints):
    turns = [(name, f"{'no ' * (i + 1)}") for i, (name, _) in enumerate(TALK * 2)]
    edited = [*turns[:4], ("Ann", "sorry"), *turns[5:]]
    enc = encoder(checkpoints["bert"], past=2, future=1)
    before, after = ([enc.item(talk(t), i).key for i in range(10)] for t in (turns, edited))
    assert [i for i in range(10) if before[i] != after[i]] == [3, 4, 5, 6]


def test_a_key_does_not_depend_on_what_was_asked_before(checkpoints):
    warm = encoder(checkpoints["roberta"])
    keys = [warm.item(talk(), i).key for i in range(5)]
    assert [encoder(checkpoints["roberta"]).item(talk(), i).key for i in (4, 0, 2)] == [
        keys[i] for i in (4, 0, 2)
    ]
    assert [warm.item(talk(), i).key for i in range(5)] == keys
