"""The face that speaks: LR-ASD's network, tracks, and whom `faces: speaker` takes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmarks.pairs import write_pair
from extract import __main__ as extraction
from extract.contract import Failure
from extract.encoders.face import FaceEncoder
from extract.networks import lr_asd
from extract.networks.lr_asd import speaking_network
from extract.networks.weights import resolve
from extract.reading import detections, faces
from extract.reading.face_params import FaceParams
from extract.reading.mfcc import mfcc
from extract.reading.tracks import Grid, link, spread
from pipeline import prepare
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.features.schema import STATUSES
from pipeline.tables.schema import SPLITS
from tests.extract.outcomes import item_of
from tests.extract.portraits import astronaut, hopper, scene, write_clip
from tests.extract.project import inline

RECORDED = Path(__file__).parents[1] / "golden/lr_asd.npz"
DATA = os.environ.get("EMOFUSE_DATA", "")
WEIGHTS = Path(DATA) / "lr_asd/finetuning_TalkSet.model"
PUBLISHED = pytest.mark.skipif(not (DATA and WEIGHTS.is_file()), reason="LR-ASD's weights are not here")


MOUTHS: dict[str, Any] = {"encoder": "face", "faces": "speaker", "speaker_weights": "mouths"}


def recorded_input() -> tuple[np.ndarray, np.ndarray]:
    """Return pictures [30, 112, 112] u1 and sound [S] i2, as for the recording in tests/golden."""
    draw = np.random.default_rng(18)
    y, x = np.mgrid[:112, :112]
    waves = [127 + 90 * np.sin(x / 9 + t / 3) * np.cos(y / (7 + t % 5)) for t in range(30)]
    pictures = np.stack(waves) + draw.normal(0, 9, (30, 112, 112))
    n = np.arange(30 * 640 + 800)
    sound = 6000 * np.sin(n * 0.05) * np.sin(n / 900) + draw.normal(0, 300, n.size)
    return pictures.clip(0, 255).astype(np.uint8), sound.round().astype(np.int16)


def test_coefficients_are_those_of_python_speech_features() -> None:
    _, sound = recorded_input()
    with np.load(RECORDED) as recorded:
        np.testing.assert_allclose(mfcc(sound, 120), recorded["mfcc"], atol=1e-5)


def test_silence_and_missing_sound_have_coefficients() -> None:
    assert np.isfinite(mfcc(np.zeros(0), 8)).all()
    assert mfcc(np.zeros(100), 8).shape == (8, 13)


@PUBLISHED
def test_the_network_answers_as_the_published_one() -> None:
    pictures, _ = recorded_input()
    network = speaking_network(resolve(str(WEIGHTS), "", "speaker_weights"), torch.device("cpu"))
    with np.load(RECORDED) as recorded:
        found = network(pictures, recorded["mfcc"], [len(pictures)])
        np.testing.assert_allclose(found, recorded["logits"], atol=1e-4)


def test_pictures_computed_in_parts_have_the_logits_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = lr_asd.LRASD().eval()
    pictures, sound = torch.rand(1, 45, 32, 32) * 255, torch.randn(1, 180, 13)
    with torch.inference_mode():
        parts = network(pictures, sound)
        monkeypatch.setattr(lr_asd, "PART", 45)
        whole = network(pictures, sound)
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"model.fusion.attention.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="does not match the network LRASD"):
        speaking_network(resolve(str(tmp_path / "other.pt"), "", "speaker_weights"), torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("least", "speaker_weights"), [(0.9, "mouths"), pytest.param(0.9, str(WEIGHTS), marks=PUBLISHED)]
)
def test_the_speaking_face_is_taken(tmp_path: Path, least: float, speaker_weights: str) -> None:
    """Of two faces the one whose mouth moves with the sound, on both sides of a cut after which they changed places."""
    right = []
    for seed in (1, 2):
        for chewing in (False, True):
            path, side = write_pair(tmp_path / f"{seed}{chewing}.mp4", seed, chewing=chewing)
            encoder = FaceEncoder(
                FaceParams(encoder="face", faces="speaker", speaker_weights=speaker_weights), tmp_path
            )
            seen = encoder.read(item_of(encoder, path))
            assert not isinstance(seen, Failure), seen
            right += [
                ((one.boxes[0, 0] + one.boxes[0, 2]) / 2 > 320) == side[round(one.seconds * 25)]
                for one in seen
            ]
    assert np.mean(right) >= least, right


def test_nobody_who_speaks_is_no_face_or_the_likeliest(tmp_path: Path) -> None:
    """Without sound there is no telling."""
    path, _ = write_pair(tmp_path / "a.mp4", 1, silent=True)
    for fallback in ("none", "track"):
        encoder = FaceEncoder(FaceParams(**MOUTHS, fallback=fallback), tmp_path)
        (found,) = encoder.extract([item_of(encoder, path)])
        if fallback == "none":
            assert found == Failure("no_face", "no face in view speaks, and fallback is none")
        else:
            assert not isinstance(found, Failure)
            assert found.note == "no face in view speaks, likeliest face, no score"


def test_a_track_ends_at_a_cut(tmp_path: Path) -> None:
    """The next person stands where the last one stood."""
    left, right = np.full((90, 160, 3), 60, np.uint8), np.full((90, 160, 3), (200, 40, 90), np.uint8)
    pictures = [(k / 25, left if k < 30 else right) for k in range(60)]
    grid = Grid()
    looked = [number for number, _ in grid.looks(pictures)]
    assert grid.shots() == [(0, 30), (30, 60)]
    assert looked == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
    box = np.array([[10, 10, 50, 60, 0.99]], np.float32)
    tracks = [link([(number, box) for number in looked], *shot) for shot in grid.shots()]
    assert [[(t.at[0], t.at[-1]) for t in shot] for shot in tracks] == [[(0, 29)], [(30, 59)]]


def test_a_cut_within_one_set_ends_a_shot_and_a_pan_does_not() -> None:
    """Both halves have the same few colours, as two cameras in one room; the pan moves by ten pixels a picture."""
    draw = np.random.default_rng(0)
    small = draw.choice(np.array([30, 90, 150], np.uint8), (6, 40, 1)).repeat(3, 2)
    room = cv2.resize(small, (640, 90), interpolation=cv2.INTER_LINEAR)
    pan = [room[:, 10 * k : 10 * k + 160] for k in range(30)]
    grid = Grid()
    for _ in grid.looks((k / 25, picture) for k, picture in enumerate([*pan, *(p[::-1, ::-1] for p in pan)])):
        pass
    assert grid.shots() == [(0, 30), (30, 60)]


def test_a_track_bridges_a_gap_and_false_faces_are_left_out() -> None:
    face, clock = [10, 10, 50, 60, 0.99], [100, 10, 130, 40, 0.75]
    looks = [(0, [face]), (5, [face, clock]), (10, [clock]), (15, [[14, 10, 54, 60, 0.99]]), (20, [face])]
    tracks = link([(at, np.array(boxes, np.float32)) for at, boxes in looks], 0, 25)
    assert [t.at.tolist() for t in tracks] == [[0, 5, 15, 20, 24]]
    assert tracks[0].box(10)[0] == 12
    assert sorted(spread(tracks, 5)) == [2, 7, 12, 17, 22]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that receives every frame in which faces are detected from now on."""
    looked: list[object] = []
    find = faces.find

    def find_and_count(frames: Sequence[Any], *rest: Any) -> Any:
        looked.extend(frames)
        return find(frames, *rest)

    monkeypatch.setattr(faces, "find", find_and_count)
    return looked


def test_three_settings_of_faces_cost_one_detection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = write_pair(tmp_path / "a.mp4", 1)
    looked = counted(monkeypatch)
    crops = {}
    for name in ("all", "largest", "most_central", "track"):
        for kept in (None, tmp_path / "kept"):
            encoder = FaceEncoder(FaceParams(encoder="face", faces=name, count=4), tmp_path)
            encoder.kept = kept
            before = len(looked)
            seen = encoder.read(item_of(encoder, path))
            assert not isinstance(seen, Failure), seen
            crops[name, kept] = [crop.tobytes() for frame in seen for crop in frame.crops]
            assert len(looked) - before == (0 if kept and name != "all" else 4)
        assert crops[name, None] == crops[name, tmp_path / "kept"]
    for settings in (
        {},
        {"fallback": "none"},
        {"margin": 0.2},
    ):  # `speaker` looks at pictures of its own, once
        encoder = FaceEncoder(FaceParams(**MOUTHS, count=4, **settings), tmp_path)
        encoder.kept = tmp_path / "kept"
        before = len(looked)
        assert not isinstance(encoder.read(item_of(encoder, path)), Failure)
        assert (len(looked) == before) == bool(settings)


@pytest.mark.slow
def test_three_streams_of_233_clips_cost_one_detection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in whole extractions, each with a journal of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    rows = ["utterance,dialogue,turn,text,media,split,emotion"]
    (tmp_path / "own").mkdir()
    for number in range(233):
        frame = scene(
            (astronaut(160), 10 + 2 * (number % 24), 30 + 2 * (number // 24)), (hopper(160), 300, 40)
        )
        write_clip(tmp_path / f"own/{number}.mp4", [frame] * 8)
        rows.append(f"u{number},d{number % 4},{number},hello,{number}.mp4,{SPLITS[number % 4 % 3]},joy")
    (tmp_path / "own/own.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    streams = {name: {"encoder": "face", "faces": name, "count": 4} for name in ("track", "largest", "all")}
    sections = {
        "corpus": {"name": "csv", "watch": "own", "root": "own", "labels": ["joy", "anger"]},
        "extract": streams,
        "train": {"streams": {"text": "none", "audio": "none", "visual": "track"}},
        "model": {"name": "majority"},
        "loss": {},
        "evaluate": {},
    }
    (tmp_path / "params.yaml").write_text(json.dumps(sections), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["pipeline.prepare"])
    prepare.main()
    looked = counted(monkeypatch)
    counts = {}
    for name in streams:
        monkeypatch.setattr(sys, "argv", ["extract", name])
        extraction.main()
        counts[name] = len(looked)
        with FeatureCache(Path(f"data/features/{name}.h5")) as cache:
            assert [STATUSES[code] for code in cache.status] == ["ok"] * 233
    assert counts == dict.fromkeys(streams, 233 * 4)


def test_the_speaker_without_weights_is_refused() -> None:
    """Comparing mouths with the sound selected fewer right faces than `track` on real recordings."""
    with pytest.raises(ValidationError, match=r"faces='speaker' needs `speaker_weights`: .* or `mouths`"):
        FaceParams(encoder="face", faces="speaker")


def test_damaged_boxes_are_found_again(tmp_path: Path) -> None:
    way = {"span": "a"}
    known = detections.Detections(tmp_path, way)
    known.boxes[0.04] = np.array([[1 / 3, 2, 3, 4, 0.9]], np.float32)
    known.boxes[0.2] = np.zeros((0, 5), np.float32)
    known.keep()
    again = detections.Detections(tmp_path, way).boxes
    assert {at: boxes.tobytes() for at, boxes in again.items()} == {
        at: boxes.tobytes() for at, boxes in known.boxes.items()
    }
    (file,) = tmp_path.rglob("*.json")
    for text in ("", "[]", "{}", '{"boxes": {"a": []}}', json.dumps({"boxes": {"0.1": [[1, 2]]}})):
        file.write_text(text, encoding="utf-8")
        assert detections.Detections(tmp_path, way).boxes == {}


def test_the_weights_content_is_in_the_fingerprint_and_their_place_is_not(tmp_path: Path) -> None:
    prints = []
    for folder, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "asd.model").write_bytes(content)
        params = FaceParams(
            encoder="face", faces="speaker", speaker_weights=str(tmp_path / folder / "asd.model")
        )
        prints.append(FaceEncoder(params, tmp_path).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_the_mouth_is_cut_as_the_network_saw_it() -> None:
    """Centre and half side 0.7 times the box's half side, a little below its middle; grey beyond the frame."""
    from extract.reading.speaker import _region

    grey = np.arange(200 * 200, dtype=np.uint32).reshape(200, 200)
    grey = (grey % 251).astype(np.uint8)
    crop = _region(grey, 100, 80, 40)
    assert crop.shape == (112, 112)
    np.testing.assert_array_equal(
        crop, cv2.resize(grey[68:124, 72:128], (112, 112), interpolation=cv2.INTER_LINEAR)
    )
    assert (_region(grey, 0, 0, 40)[:20, :40] == 110).all()
