"""How much each encoder computes: passes of the network, tokens, samples, decoded pictures, and detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract.encoders import build
from extract.reading import faces
from extract.reading.spans import Track
from tests.extract import tiny_models
from tests.extract.portraits import write_clip
from tests.extract.test_face_encoder import CLIP, extract, face
from tests.extract.test_image_encoder import vit


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")


def encoder(**params: Any) -> Any:
    return build(params["encoder"], params, Path("params.yaml"), Path())


def passes(model: Any, shape: Callable[..., tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return a list to which every later pass of the model adds the shape of its input."""
    seen: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _, inputs, named: seen.append(shape(*inputs, **named)), with_kwargs=True
    )
    return seen


def noted(seen: list[Any], run: Callable[..., Any], note: Callable[..., Any]) -> Callable[..., Any]:
    """Return `run`, which first adds a note about its arguments to `seen`."""

    def noting(*args: Any) -> Any:
        seen.append(note(*args))
        return run(*args)

    return noting


def test_text_has_one_pass_a_sentence_and_no_token_of_padding(tmp_path: Path) -> None:
    made = encoder(encoder="text", weights=str(tiny_models.bert(tmp_path / "bert")), context={"tokens": 48})
    seen = passes(made._model, lambda **named: tuple(named["input_ids"].shape))
    lengths = [9, 31, 17, 9]
    made.encode([{"ids": [7] * n, "own": [1, n - 1]} for n in lengths])
    assert seen == [(1, n) for n in lengths]


def test_speech_has_one_pass_a_window(tmp_path: Path) -> None:
    weights = str(tiny_models.speech(tmp_path / "wavlm", "wavlm"))
    made = encoder(encoder="speech", weights=weights, window=4.0, overlap=2.0)
    seen = passes(made._model, lambda values, **named: tuple(values.shape))
    made.encode([np.zeros(n, np.float32) for n in (16000, 64000, 100000)])
    # 100,000 samples are windows that start at 0 s, 2 s and 4 s; the last one is shorter.
    assert seen == [(1, 16000), (1, 64000), (1, 64000), (1, 64000), (1, 36000)]


def test_images_have_one_pass_for_sixteen_pictures(tmp_path: Path) -> None:
    for part in vit():
        part.save_pretrained(tmp_path)
    made = encoder(encoder="image", weights=str(tmp_path))
    seen: list[int] = []
    made.__dict__["_network"] = noted(seen, made._network, len)
    made.encode([(np.arange(n), np.zeros((n, 3, 32, 32), np.float32)) for n in (40, 3)])
    assert seen == [16, 16, 8, 3]


@pytest.mark.parametrize(
    ("frames", "calls"), [("none", ["_functionals"]), ("f4", ["_functionals", "_descriptors"])]
)
def test_opensmile_computes_descriptors_only_for_frames(
    monkeypatch: pytest.MonkeyPatch, frames: str, calls: list[str]
) -> None:
    made = encoder(encoder="opensmile", frames=frames)
    seen: list[str] = []
    for name in ("_functionals", "_descriptors"):
        smile = getattr(made, name)
        monkeypatch.setattr(smile, "process", noted(seen, smile.process, lambda *_, name=name: name))
    made.encode([np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 10])
    assert seen == calls


@pytest.mark.parametrize(
    ("params", "detected"),
    [
        # Four parts of three pictures: the first shows no face, so all three are searched.
        ({"sampling": "even"}, 6),
        ({"sampling": "exhaustive"}, len(CLIP)),
    ],
    ids=str,
)
def test_faces_decode_a_clip_once_and_detect_in_no_picture_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, str], detected: int
) -> None:
    write_clip(tmp_path / "clip.mp4", CLIP)
    looked: list[int] = []
    decoded: list[float] = []
    crops: list[int] = []
    decode = Track.decode

    def counted(track: Track) -> Iterator[tuple[float, Any]]:
        for at, frame in decode(track):
            decoded.append(at)
            yield at, frame

    monkeypatch.setattr(faces, "find", noted(looked, faces.find, lambda pictures, *_: len(pictures)))
    monkeypatch.setattr(Track, "decode", counted)
    made = face(tmp_path, **params)
    made.__dict__["_network"] = noted(crops, made._network, len)
    extract(made, "clip.mp4")
    assert sum(looked) == detected
    assert len(decoded) == len(set(decoded)) == len(CLIP)
    assert len(crops) == 1
