from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from extract.contract import Features
from extract.encoders.speech import SpeechEncoder, SpeechParams
from pipeline.errors import UserError
from pipeline.strict import validate
from pipeline.tables.schema import Utterance
from tests.extract import tiny_models
from tests.extract.make_clips import clip, item

KINDS = ["wav2vec2-base", "wav2vec2-large", "hubert", "wavlm", "data2vec"]
MASKED = ["wav2vec2-large", "wavlm"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("speech")
    return {kind: tiny_models.speech(root / kind, kind) for kind in [*KINDS, "whisper"]}


@pytest.fixture(scope="module")
def kept(checkpoints) -> dict[str, SpeechEncoder]:
    return {kind: encoder(folder) for kind, folder in checkpoints.items()}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")


def encoder(folder: Path, media: Path = Path(), **params) -> SpeechEncoder:
    return SpeechEncoder(SpeechParams(encoder="speech", weights=str(folder), **params), media)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * 16000))).astype(np.float32)


def by_transformers(folder: Path, samples: np.ndarray) -> list[np.ndarray]:
    """All hidden states [T, P], as transformers' own documentation computes them."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = transformers.AutoFeatureExtractor.from_pretrained(folder)(
        samples, sampling_rate=16000, return_tensors="pt"
    )
    with torch.no_grad():
        if "input_features" in inputs:
            out = model.encoder(inputs["input_features"], output_hidden_states=True)
        else:
            out = model(inputs["input_values"], output_hidden_states=True)
    return [layer[0].numpy() for layer in [*out.hidden_states, out.last_hidden_state]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layer", "of"), [("last", [-1]), (2, [2]), (0, [0]), ({"mean_of": [1, 3]}, [1, 3])])
def test_frames_are_those_of_transformers(checkpoints, kind, layer, of):
    params = validate(
        SpeechParams, {"encoder": "speech", "weights": str(checkpoints[kind]), "layer": layer}, Path("p.yaml")
    )
    enc = SpeechEncoder(params, Path())
    features = enc.encode([sound(1.3)])[0]
    states = by_transformers(checkpoints[kind], sound(1.3))
    expected = np.mean([states[k] for k in of], 0)
    np.testing.assert_allclose(features.frames, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(features.pooled, expected.mean(0), rtol=1e-5, atol=1e-5)
    assert (enc.pooled_dim, enc.frames_dim) == (32, 32)
    np.testing.assert_allclose(features.times, 0.02 * np.arange(64), atol=1e-6)
    assert features.pooled.dtype == features.frames.dtype == features.times.dtype == np.float32


def test_whispers_frames_end_with_the_utterance(checkpoints, kept):
    features = kept["whisper"].encode([sound(1.31)])[0]
    assert features.frames.shape == (66, 32)
    assert features.times[-1] == pytest.approx(1.30)
    expected = by_transformers(checkpoints["whisper"], sound(1.31))[-1][:66]
    np.testing.assert_allclose(features.frames, expected, rtol=1e-5, atol=1e-5)


@given(
    lengths=st.lists(st.integers(400, 12000), min_size=1, max_size=6),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_feature_has_the_same_bytes_alone_and_in_any_batch(kept, lengths, kind, seed):
    rng = np.random.default_rng(seed)
    inputs = [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in lengths]
    together = kept[kind].encode(inputs)
    order = rng.permutation(len(inputs))
    mixed = kept[kind].encode([inputs[i] for i in order])
    for place, i in enumerate(order):
        alone = kept[kind].encode([inputs[i]])[0]
        for other in (together[i], mixed[place]):
            assert other.pooled.tobytes() == alone.pooled.tobytes()
            assert other.frames.tobytes() == alone.frames.tobytes()


@pytest.mark.parametrize("kind", MASKED)
def test_a_padded_and_masked_batch_stays_within_1e_4(kept, kind):
    enc = kept[kind]
    assert enc._masks
    inputs = [enc._prepare(sound(s, i)) for i, s in enumerate([0.61, 0.7, 0.45, 0.7])]
    for hidden, values in zip(enc._batch(inputs), inputs, strict=True):
        alone = enc._batch([values])[0]
        assert hidden.shape == alone.shape
        np.testing.assert_allclose(hidden, alone, atol=1e-4)


@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert", "data2vec", "whisper"])
def test_models_that_padding_would_change_are_never_padded(kept, kind):
    assert not kept[kind]._masks


@pytest.mark.parametrize("kind", ["wav2vec2-large", "wavlm", "data2vec"])
@pytest.mark.parametrize("seconds", [4.0, 4.02, 5.99, 6.01, 7.3, 11.0])
def test_windows_join_without_a_gap_or_a_shift(checkpoints, kind, seconds):
    # What enters the first layer looks only a few frames far, so that joined windows must give the whole again.
    whole, parts = (encoder(checkpoints[kind], layer=0, window=w, overlap=2.0) for w in (30.0, 4.0))
    a, b = (enc.encode([sound(seconds)])[0] for enc in (whole, parts))
    np.testing.assert_allclose(a.frames, b.frames, atol=1e-5)
    np.testing.assert_array_equal(a.times, b.times)


@pytest.mark.parametrize("seconds", [4.02, 7.3, 11.0])
def test_whispers_windows_cover_every_moment_once(checkpoints, seconds):
    enc = encoder(checkpoints["whisper"], window=4.0, overlap=2.0)
    features = enc.encode([sound(seconds)])[0]
    assert len(features.frames) == len(features.times) == round(seconds * 50)


def test_a_window_decides_nothing_for_what_fits_into_it(checkpoints):
    a, b = (encoder(checkpoints["wavlm"], window=w).encode([sound(3.9)])[0] for w in (4.0, 30.0))
    assert a.frames.tobytes() == b.frames.tobytes()


def test_memory_is_bounded_by_the_window(checkpoints, monkeypatch):
    enc = encoder(checkpoints["wav2vec2-base"], window=4.0, max_seconds=1000.0)
    longest = []
    whole = enc._batch
    monkeypatch.setattr(enc, "_batch", lambda batch: longest.append(max(map(len, batch))) or whole(batch))
    enc.encode([sound(60.0)])
    assert max(longest) <= 4 * 16000
    assert len(longest) == 29


def test_clips_are_read_at_the_models_rate_and_bad_ones_keep_their_places(checkpoints, tmp_path):
    clip(tmp_path / "good.wav", video=False, codec="pcm_s16le", sound=sound(1.0))
    clip(tmp_path / "tiny.wav", video=False, codec="pcm_s16le", sound=sound(0.02))
    clip(tmp_path / "silent film.mp4", 1.0, audio=False)
    enc = encoder(checkpoints["wav2vec2-base"], tmp_path, max_seconds=5.0)
    items = [item(tmp_path / name) for name in ("tiny.wav", "good.wav", "silent film.mp4", "gone.wav")]
    items.append(item(tmp_path / "good.wav", 0.25, 0.75))
    found = enc.extract(items)
    statuses = ["ok" if isinstance(f, Features) else f.status for f in found]
    assert statuses == ["too_short", "ok", "no_audio", "missing_file", "ok"]
    assert found[0].reason == "20 ms of sound is shorter than one frame"
    exact = np.round(sound(1.0) * 32767) / 32768
    np.testing.assert_array_equal(found[1].frames, enc.encode([exact.astype(np.float32)])[0].frames)
    np.testing.assert_array_equal(
        found[4].frames, enc.encode([exact[4000:12000].astype(np.float32)])[0].frames
    )


def test_items_of_known_length_can_share_a_batch():
    def item(start, end):
        row = Utterance("u", "d", 0, "", "", "", "a.wav", start, end, "0" * 64)
        return encoder(Path("nowhere")).item([row], 0)

    assert item(None, None).length == 0
    assert item(1.0, 3.03).length == item(4.0, 6.08).length == 21
    assert item(1.0, 3.03).key != item(1.0, 3.04).key


def test_pretraining_heads_and_older_names_load(checkpoints, tmp_path):
    folder = tiny_models.speech(tmp_path / "old", "wav2vec2-base")
    tensors = load_file(folder / "model.safetensors")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for name, tensor in tensors.items():
        for new, before in old.items():
            name = name.replace(new, before)
        renamed[f"wav2vec2.{name}"] = tensor
    renamed["project_q.weight"] = torch.zeros(4, 4)
    del renamed["wav2vec2.masked_spec_embed"]
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    assert any(name.endswith("weight_g") for name in renamed)
    a, b = (encoder(f).encode([sound(0.5)])[0] for f in (folder, checkpoints["wav2vec2-base"]))
    np.testing.assert_array_equal(a.frames, b.frames)


def test_it_pickles_and_its_fingerprint_is_of_what_decides_the_value(checkpoints):
    enc = encoder(checkpoints["wavlm"])
    assert len(pickle.dumps(enc)) < 2000
    copy = pickle.loads(pickle.dumps(enc))
    np.testing.assert_array_equal(copy.encode([sound(0.5)])[0].frames, enc.encode([sound(0.5)])[0].frames)
    prints = {
        encoder(checkpoints["wavlm"], **params).fingerprint()
        for params in ({}, {"layer": 2}, {"window": 20.0}, {"precision": "bf16"}, {"max_seconds": 9.0})
    }
    assert len(prints) == 5
    assert enc.fingerprint() == encoder(checkpoints["wavlm"], timeout=5.0).fingerprint()


@pytest.mark.parametrize("kind", ["wavlm", "whisper"])
def test_bf16_is_another_feature_near_the_first(checkpoints, kind):
    full, half = (encoder(checkpoints[kind], precision=p).encode([sound(0.7)])[0] for p in ("fp32", "bf16"))
    assert half.frames.dtype == half.pooled.dtype == np.float32
    assert not np.array_equal(full.frames, half.frames)
    assert np.abs(full.pooled - half.pooled).max() < 0.1 * np.abs(full.pooled).max()


def test_mistakes_are_told(checkpoints, tmp_path):
    with pytest.raises(UserError, match="layer=4: wavlm has only 3 layers"):
        encoder(checkpoints["wavlm"], layer=4).encode([sound(0.5)])
    with pytest.raises(UserError, match="bert, which is not a supported speech encoder"):
        _ = encoder(tiny_models.bert(tmp_path / "b")).pooled_dim
    folder = tiny_models.speech(tmp_path / "w", "wavlm")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"preprocessor_config\.json is missing"):
        encoder(folder).encode([sound(0.5)])
    for raw, why in [
        ({"layer": -1}, "layer"),
        ({"layer": "first"}, "layer"),
        ({"layer": {"mean_of": []}}, "mean_of"),
        ({"window": 3.0, "overlap": 2.0}, "overlap=2"),
        ({}, "weights: missing"),
    ]:
        known = {} if not raw else {"weights": "x"}
        with pytest.raises(UserError) as error:
            validate(
                SpeechParams, {"encoder": "speech", **known, **raw}, Path("params.yaml"), "extract.speech"
            )
        assert why in str(error.value)
