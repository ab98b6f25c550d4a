"""Every encoder computes the same features on the device as on the CPU, also in batches of mixed lengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from extract.contract import Encoder, Features
from extract.encoders import REGISTRY, build
from extract.encoders.opensmile import OpensmileEncoder
from extract.networks.lr_asd import LRASD
from extract.networks.pretrained import inference
from extract.reading.faces import Seen
from extract.reading.mtcnn import Detector
from tests.extract import test_image_encoder as images
from tests.extract import tiny_models
from tests.extract.portraits import astronaut, hopper, scene
from tests.gpu.conftest import gap

FP32 = 1e-4
# Eight bits of precision, amplified by weights that are larger than a trained checkpoint's.
BF16 = 0.1
LENGTHS = (9, 31, 17, 9, 40)
Inputs = list[Any]
Params = dict[str, Any]


def text(kind: str, folder: Path) -> tuple[Params, Inputs]:
    rng = np.random.default_rng(0)
    inputs = [{"ids": rng.integers(6, 20, n).tolist(), "own": [2, n - 1]} for n in LENGTHS]
    weights = getattr(tiny_models, kind)(folder)
    return {"encoder": "text", "weights": str(weights), "context": {"tokens": 48}}, inputs


def speech(kind: str, folder: Path) -> tuple[Params, Inputs]:
    rng = np.random.default_rng(0)
    inputs = [(0.1 * rng.standard_normal(600 * n)).astype(np.float32) for n in LENGTHS]
    return {"encoder": "speech", "weights": str(tiny_models.speech(folder, kind))}, inputs


def image(kind: str, folder: Path) -> tuple[Params, Inputs]:
    rng = np.random.default_rng(0)
    inputs = [(np.arange(n), rng.standard_normal((n, 3, 32, 32)).astype(np.float32)) for n in LENGTHS]
    return {"encoder": "image", "weights": str(_saved(kind, folder))}, inputs


def face(kind: str, folder: Path) -> tuple[Params, Inputs]:
    rng = np.random.default_rng(0)
    shape = {"fer2013": (64, 64), "resnet101": (224, 224, 3), "inception": (160, 160, 3)}.get(kind)
    weights = {"fer2013": "package:fer"}.get(kind) or str(_face_weights(kind, folder))

    def crop() -> np.ndarray:
        if shape is None:  # what the preprocessor of transformers returns
            return rng.standard_normal((3, 32, 32)).astype(np.float32)
        return rng.integers(0, 256, shape, dtype=np.uint8)

    counts = ((1, 2), (3,), (1, 1, 2))
    inputs = [
        [Seen(t, np.zeros((n, 5)), [crop() for _ in range(n)]) for t, n in enumerate(c)] for c in counts
    ]
    return {"encoder": "face", "network": kind, "weights": weights}, inputs


def _saved(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    for part in getattr(images, kind)():
        part.save_pretrained(folder)
    return folder


def _face_weights(kind: str, folder: Path) -> Path:
    if kind == "transformers":
        return _saved("vit", folder)
    torch.manual_seed(0)
    if kind == "resnet101":
        from torchvision.models import resnet101 as network
    else:
        from facenet_pytorch import InceptionResnetV1 as network
    folder.mkdir()
    torch.save(network(num_classes=1000).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


Make = Callable[[str, Path], tuple[Params, Inputs]]
CASES: list[tuple[Make, str]] = [
    *((text, kind) for kind in ("bert", "roberta", "deberta")),
    *(
        (speech, kind)
        for kind in ("wav2vec2-base", "wav2vec2-large", "hubert", "wavlm", "data2vec", "whisper")
    ),
    *((image, kind) for kind in ("clip", "siglip", "vit", "dinov2", "swin", "convnext")),
    *((face, kind) for kind in ("fer2013", "resnet101", "inception", "transformers")),
]


@pytest.fixture(scope="module", params=CASES, ids=[f"{make.__name__}-{kind}" for make, kind in CASES])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Inputs]:
    make, kind = request.param
    return make(kind, tmp_path_factory.mktemp("weights") / kind)


def encoder(params: Params, **more: str) -> Encoder[Any]:
    return build(params["encoder"], {**params, **more}, Path("params.yaml"), Path())


def encoded(made: Encoder[Any], inputs: Inputs) -> list[Features]:
    found = [one for one in made.encode(inputs) if isinstance(one, Features)]
    assert len(found) == len(inputs)
    return found


def on_the_cpu(params: Params, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> list[Features]:
    """Return the features of each input alone, in float32 on the CPU."""
    with monkeypatch.context() as patch:
        patch.setenv("EMOFUSE_DEVICE", "cpu")
        made = encoder(params)
        return [encoded(made, [one])[0] for one in inputs]


def test_all_encoders_are_compared() -> None:
    compared = {make.__name__ for make, _ in CASES}
    assert compared | {"opensmile"} == set(REGISTRY)
    # openSMILE computes on the CPU wherever the others do.
    assert "torch" not in OpensmileEncoder.packages(OpensmileEncoder.__new__(OpensmileEncoder))


def test_features_agree_with_the_cpu(
    case: tuple[Params, Inputs], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, inputs = case
    expected = on_the_cpu(params, inputs, monkeypatch)
    for precision, bound in (("fp32", FP32), ("bf16", BF16)):
        found = encoded(encoder(params, precision=precision), inputs)
        for a, b in zip(found, expected, strict=True):
            assert gap(a.pooled, b.pooled) <= bound
            assert (a.frames is None) == (b.frames is None)
            if a.frames is not None and b.frames is not None:
                assert gap(a.frames, b.frames) <= bound
                np.testing.assert_array_equal(a.times, b.times)


def test_the_same_batch_gives_the_same_bytes_twice(case: tuple[Params, Inputs]) -> None:
    params, inputs = case
    made = encoder(params)
    first, second = encoded(made, inputs), encoded(made, inputs)
    assert [one.pooled.tobytes() for one in first] == [one.pooled.tobytes() for one in second]


def test_the_detector_finds_the_same_faces(device: torch.device) -> None:
    pictures = [
        scene((astronaut(180), 40, 50), (hopper(140), 300, 90)),
        scene((hopper(200), 200, 20)),
        scene(),
    ]
    expected, found = (Detector(40, 0.7, where)(pictures) for where in (torch.device("cpu"), device))
    assert [len(boxes) for boxes in expected] == [2, 1, 0]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a[:, :4], b[:, :4], atol=0.01)  # pixels
        np.testing.assert_allclose(a[:, 4], b[:, 4], atol=FP32)


def test_the_network_of_speaking_faces_agrees_with_the_cpu(device: torch.device) -> None:
    torch.manual_seed(0)
    net, pictures, sound = LRASD().eval(), torch.rand(1, 20, 112, 112) * 255, torch.randn(1, 80, 13)

    def logits(net: nn.Module, where: torch.device) -> np.ndarray:
        with inference(where, "fp32"):
            return net.to(where)(pictures.to(where), sound.to(where)).cpu().numpy()

    expected = logits(net, torch.device("cpu"))
    assert gap(logits(net, device), expected) <= FP32
