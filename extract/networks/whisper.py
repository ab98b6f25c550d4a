"""The encoder of a Whisper model in CTranslate2's format, as transformers' `WhisperEncoder`.

faster-whisper's models have this format. `model.bin` holds the tensors. `config.json` says nothing about the network,
so its sizes are those of the tensors. `model.bin` is little-endian (ctranslate2/specs/model_spec.py). A text is its
length (u2), its bytes in UTF-8 and a zero, which the length counts:

    u4 format, text name of the model, u4 revision,
    u4 count, then of each variable: text name, u1 rank, u4 sizes[rank], u1 type, u4 bytes, the values
    u4 count, then of each alias: text alias, text name of the variable with the same values

A file may come from anywhere, so every field is checked before it is used.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from extract.networks.pretrained import Precision, frozen
from extract.networks.weights import CONVERTED, Weights
from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FORMAT, NAME, REVISION = 6, "WhisperSpec", 3
# By a type's number; numpy has no bfloat16.
TYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "<u2")
FLOATS, SCALED, INTEGERS, BFLOAT16 = (0, 4, 5), (1, 2), (1, 2, 3), 5
# large-v3 has about 1,300 variables.
MOST = 20_000
# Frames of 30 s, which transformers' preprocessor always gives.
POSITIONS = 1500
ATTENTION = "self_attention/linear_0/"  # queries, keys and values in one
RENAMED = (
    (r"^layer_(\d+)/", r"layers.\1."),
    ("position_encodings/encodings", "embed_positions.weight"),
    ("self_attention/layer_norm", "self_attn_layer_norm"),
    ("self_attention/linear_1", "self_attn.out_proj"),
    ("ffn/layer_norm", "final_layer_norm"),
    ("ffn/linear_0", "fc1"),
    ("ffn/linear_1", "fc2"),
    ("gamma$", "weight"),
    ("beta$", "bias"),
    ("/", "."),
)


class Variable(NamedTuple):
    """The number of a variable's type, its shape, and where its values are in the file."""

    kind: int
    shape: tuple[int, ...]
    at: int


class Damage(Exception):
    """What is wrong with a file."""


def is_converted(weights: Weights) -> bool:
    """Return whether weights are in CTranslate2's format alone."""
    return (weights.path / CONVERTED).is_file() and not any(weights.path.glob("*.safetensors"))


def whisper_config(weights: Weights) -> Any:
    """Return the encoder's `WhisperConfig`, without reading its tensors.

    Raises:
        UserError: the file is damaged, or is not a Whisper model of the known format.
    """
    with _opened(weights) as model:
        return model.config()


def whisper_preprocessor(config: Any) -> Any:
    """Return the feature extractor of a Whisper model: log-mel spectrum of 30 s, padded."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=config.num_mel_bins)


def load_whisper(weights: Weights, device: torch.device, precision: Precision) -> PreTrainedModel:
    """Return the encoder, frozen, in float32 and in eval mode; call it in `inference(device, precision)`.

    Raises:
        UserError: as `whisper_config`, or a value is not finite.
    """
    import torch
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    with _opened(weights) as model:
        with torch.device("meta"):
            network = WhisperEncoder(model.config())
        network.load_state_dict(model.tensors(), assign=True)
    return frozen(network, device, precision)


class _Model:
    """The encoder's variables in an open model.bin of `size` bytes, by their names without `encoder/`."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        found = (self._number("I"), self._text(), self._number("I"))
        if found != (FORMAT, NAME, REVISION):
            raise Damage(f"format, model and revision are {found}, not {(FORMAT, NAME, REVISION)}")
        known: dict[str, Variable] = {}
        for _ in range(self._count()):
            name = self._text()
            if name in known:
                raise Damage(f"{name}: duplicate variable")
            known[name] = self._variable(name)
        for _ in range(self._count()):
            alias, name = self._text(), self._text()
            if alias in known or name not in known:
                raise Damage(f"{alias}: cannot be an alias of {name}")
            known[alias] = known[name]
        if file.tell() != size:
            raise Damage("bytes follow the last alias")
        own = "encoder/"
        self._variables = {name.removeprefix(own): at for name, at in known.items() if name.startswith(own)}

    def config(self) -> Any:
        """Return the encoder's config; refuse variables that `WhisperEncoder` lacks, or of other shapes."""
        from transformers import WhisperConfig

        width, mels, _ = self._sizes("conv1/weight", 3)
        inner, _ = self._sizes("layer_0/ffn/linear_0/weight", 2)
        layers = len({match[1] for name in self._variables if (match := re.match(r"layer_(\d+)/", name))})
        self._check(_shapes(width, mels, inner, layers))
        heads = int(self._values("num_heads", INTEGERS))
        if heads < 1 or width % heads:
            raise Damage(f"num_heads: {heads} heads cannot share {width} features")
        return WhisperConfig(
            d_model=width,
            num_mel_bins=mels,
            encoder_layers=layers,
            encoder_attention_heads=heads,
            encoder_ffn_dim=inner,
            max_source_positions=POSITIONS,
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the state dict, f4; variables stored as integers are divided by their scales."""
        import torch

        state: dict[str, torch.Tensor] = {}
        for name in self._variables:
            if name == "num_heads" or name.endswith("_scale"):
                continue
            values = self._floats(name)
            parts = {name: values}
            if ATTENTION in name:
                places = (name.replace(ATTENTION, f"self_attn/{part}_proj/") for part in "qkv")
                parts = dict(zip(places, np.split(values, 3), strict=True))
                if name.endswith("bias") and parts.pop(name.replace(ATTENTION, "self_attn/k_proj/")).any():
                    raise Damage(f"{name}: keys have a bias, which Whisper's have not")
            state |= {_renamed(place): torch.from_numpy(part) for place, part in parts.items()}
        return state

    def _check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        scales = {
            f"{name}_scale": ((), (1,), at.shape[:1])
            for name, at in self._variables.items()
            if at.kind in SCALED and name in shapes
        }
        allowed = {name: (shape,) for name, shape in shapes.items()} | scales | {"num_heads": ((), (1,))}
        for name in sorted(allowed.keys() ^ self._variables.keys()):
            raise Damage(f"encoder/{name}: {'missing' if name in allowed else 'unknown variable'}")
        for name, at in self._variables.items():
            if at.shape not in allowed[name]:
                raise Damage(f"encoder/{name}: the shape is {at.shape}, not {allowed[name][-1]}")

    def _sizes(self, name: str, rank: int) -> tuple[int, ...]:
        shape = self._variables[name].shape if name in self._variables else ()
        if len(shape) != rank or 0 in shape:
            raise Damage(f"encoder/{name}: missing, or not {rank} sizes above 0")
        return shape

    def _floats(self, name: str) -> np.ndarray:
        values = self._values(name, (*FLOATS, *SCALED)).astype(np.float32)
        if f"{name}_scale" in self._variables:
            scale = self._values(f"{name}_scale", FLOATS).reshape(-1, *[1] * (values.ndim - 1))
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                values /= scale
        if not np.isfinite(values).all():
            raise Damage(f"encoder/{name}: values that are not finite")
        return values

    def _values(self, name: str, kinds: tuple[int, ...]) -> np.ndarray:
        kind, shape, at = self._variables[name]
        if kind not in kinds:
            raise Damage(f"encoder/{name}: values of type {TYPES[kind]}")
        self._file.seek(at)
        dtype = np.dtype(TYPES[kind])
        values = np.frombuffer(self._bytes(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        return (values.astype(np.uint32) << 16).view(np.float32) if kind == BFLOAT16 else values

    def _variable(self, name: str) -> Variable:
        shape = tuple(self._number("I") for _ in range(self._number("B")))
        kind, size = self._number("B"), self._number("I")
        if kind >= len(TYPES) or size != math.prod(shape) * np.dtype(TYPES[kind]).itemsize:
            raise Damage(f"{name}: {size} bytes cannot be of type {kind} and shape {shape}")
        at = self._file.tell()
        if size > self._size - at:
            raise Damage(f"{name}: the file ends inside its values")
        self._file.seek(size, 1)
        return Variable(kind, shape, at)

    def _count(self) -> int:
        if (count := self._number("I")) > MOST:
            raise Damage(f"{count} variables or aliases, more than {MOST}")
        return count

    def _text(self) -> str:
        data = self._bytes(self._number("H"))
        if data[-1:] != b"\0":
            raise Damage(f"byte {self._file.tell()}: a name has no end")
        return data[:-1].decode("utf-8", "backslashreplace")

    def _number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self._bytes(struct.calcsize(f"<{kind}")))[0])

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise Damage("the file is cut off")
        return data


@contextmanager
def _opened(weights: Weights) -> Iterator[_Model]:
    path = weights.path / CONVERTED
    try:
        with path.open("rb") as file:
            yield _Model(file, path.stat().st_size)
    except (OSError, Damage) as error:
        raise UserError(
            f"weights {weights.name}: {CONVERTED} cannot be read as Whisper: {error}; install or download it again"
        ) from None


def _shapes(width: int, mels: int, inner: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the encoder's variables but `num_heads`."""

    def weights(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}/weight": shape, f"{name}/bias": shape[:1]}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}

    shapes = weights("conv1", width, mels, 3) | weights("conv2", width, width, 3) | norm("layer_norm")
    shapes["position_encodings/encodings"] = (POSITIONS, width)
    for i in range(layers):
        attention, ffn = f"layer_{i}/self_attention", f"layer_{i}/ffn"
        shapes |= norm(f"{attention}/layer_norm") | norm(f"{ffn}/layer_norm")
        shapes |= weights(f"{attention}/linear_0", 3 * width, width)
        shapes |= weights(f"{attention}/linear_1", width, width)
        shapes |= weights(f"{ffn}/linear_0", inner, width) | weights(f"{ffn}/linear_1", width, inner)
    return shapes


def _renamed(name: str) -> str:
    for old, new in RENAMED:
        name = re.sub(old, new, name)
    return name
