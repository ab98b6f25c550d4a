"""Every encoder: a feature has the same bytes alone, in any batch and in any order, whatever the lengths.

Text and speech have their own such tests beside their checkpoints' kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.contract import Encoder, Features
from extract.encoders import REGISTRY, stream_params
from extract.reading.faces import Seen
from tests.extract.test_image_encoder import vit

OWN_TEST = {"text", "speech"}


def sound(length: int, rng: np.random.Generator) -> np.ndarray:
    return (0.1 * rng.standard_normal(1600 + 400 * length)).astype(np.float32)


def frames(length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    pixels = rng.standard_normal((length, 3, 32, 32)).astype(np.float32)
    return np.arange(length, dtype=np.float32), pixels


def faces(length: int, rng: np.random.Generator) -> list[Seen]:
    counts = rng.integers(1, 4, length)
    return [
        Seen(float(t), np.zeros((n, 5)), [rng.integers(0, 256, (64, 64), dtype=np.uint8) for _ in range(n)])
        for t, n in enumerate(counts)
    ]


# Longer than one pass of the networks takes (16 faces or frames).
MAKE: dict[str, tuple[dict[str, Any], Callable[[int, np.random.Generator], Any]]] = {
    "opensmile": ({"frames": "f2"}, sound),
    "image": ({"frames": "f2"}, frames),
    "face": ({"frames": "f2"}, faces),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("vit")
    for part in vit():
        part.save_pretrained(folder)
    made = {}
    for name, (params, _) in MAKE.items():
        weights = {"weights": str(folder)} if name == "image" else {}
        kind, valid = stream_params(name, {"encoder": name, **weights, **params}, Path("params.yaml"))
        made[name] = kind(valid, Path())
    return made


def test_every_registered_encoder_has_such_a_test():
    assert {*MAKE, *OWN_TEST} == set(REGISTRY)


@pytest.mark.parametrize("name", MAKE)
@given(lengths=st.lists(st.integers(1, 24), min_size=1, max_size=5), seed=st.integers(0, 2**16))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_feature_has_the_same_bytes_alone_and_in_any_batch(kept, name, lengths, seed):
    rng = np.random.default_rng(seed)
    inputs = [MAKE[name][1](length, rng) for length in lengths]
    order = rng.permutation(len(inputs))
    together, mixed = kept[name].encode(inputs), kept[name].encode([inputs[i] for i in order])
    for place, i in enumerate(order):
        (alone,) = kept[name].encode([inputs[i]])
        assert isinstance(alone, Features)
        for other in (together[i], mixed[place]):
            assert other.pooled.tobytes() == alone.pooled.tobytes()
            assert other.frames.tobytes() == alone.frames.tobytes()
