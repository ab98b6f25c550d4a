"""Faces that are followed: how often the detector runs, and that its boxes and the followed ones agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from extract.contract import Item
from extract.encoders import build
from extract.encoders.face import FaceEncoder
from extract.reading.mtcnn import Detector
from pipeline.errors import UserError
from tests.extract.portraits import astronaut, hopper, scene, utterance, write_clip

BLANK = scene()
# A man who moves by 4 pixels a frame; beside him a woman in the second clip.
ALONE = [scene((hopper(200), 10 + 4 * i, 20)) for i in range(5)]
BOTH = [scene((hopper(200), 30 + 4 * i, 20), (astronaut(130), 320, 40)) for i in range(7)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the detector's calls: `detect` and `follow`, with `lost` after one that lost a face."""
    made: list[str] = []
    detect, follow = Detector.__call__, Detector.follow

    def detected(self, frames):
        made.append("detect")
        return detect(self, frames)

    def followed(self, frame, boxes):
        found = follow(self, frame, boxes)
        made.extend(["follow"] if found is not None else ["follow", "lost"])
        return found

    monkeypatch.setattr(Detector, "__call__", detected)
    monkeypatch.setattr(Detector, "follow", followed)
    return made


def looked(folder: Path, frames: list[np.ndarray], **params: object) -> list[np.ndarray]:
    """Return the boxes of the frames with faces, of a clip whose every frame is examined."""
    path = write_clip(folder / "clip.mp4", frames)
    raw = {"encoder": "face", "count": len(frames), "min_face": 24, **params}
    encoder = build("face", raw, Path("params.yaml"), folder)
    assert isinstance(encoder, FaceEncoder)
    item = encoder.item([utterance(path)], 0)
    assert isinstance(item, Item)
    seen = encoder.read(item)
    return [one.boxes for one in seen] if isinstance(seen, list) else []


def test_the_detector_runs_in_every_nth_frame(tmp_path: Path, calls: list[str]) -> None:
    boxes = looked(tmp_path, ALONE + BOTH, detect_every=4)
    assert calls == ["detect", "follow", "follow", "follow"] * 3
    # The woman is there from the sixth frame on, and is found in the ninth.
    assert [len(found) for found in boxes] == [1] * 8 + [2] * 4


def test_followed_boxes_are_near_the_detected_ones(tmp_path: Path) -> None:
    for name in ("each", "followed"):
        (tmp_path / name).mkdir()
    each = looked(tmp_path / "each", BOTH)
    followed = looked(tmp_path / "followed", BOTH, detect_every=len(BOTH))
    assert [len(boxes) for boxes in followed] == [len(boxes) for boxes in each] == [2] * len(BOTH)
    for a, b in zip(followed, each, strict=True):
        a, b = a[a[:, 0].argsort()], b[b[:, 0].argsort()]
        width = (b[:, 2] - b[:, 0])[:, None]
        assert (np.abs(a[:, :4] - b[:, :4]) < 0.15 * width).all()


def test_a_cut_and_a_lost_face_are_detected_anew(tmp_path: Path, calls: list[str]) -> None:
    # The background changes with the picture, as at a cut.
    other = [255 - scene()] * 2
    looked(tmp_path, [*ALONE[:2], *other], detect_every=9)
    assert calls == ["detect", "follow", "detect", "detect", *calls[4:]]
    calls.clear()
    gone = [ALONE[0], scene((hopper(200), 250, 60))]
    looked(tmp_path, gone, detect_every=9)
    assert calls[:3] in (["detect", "follow", "lost"], ["detect", "detect"])


def test_a_frame_without_a_face_follows_nothing(tmp_path: Path, calls: list[str]) -> None:
    looked(tmp_path, [BLANK] * 3, detect_every=3)
    assert set(calls) == {"detect"}


def test_kept_boxes_are_of_one_sequence_of_frames(tmp_path: Path) -> None:
    """A followed box depends on the frames before, so a stream with another count must not read it."""

    path = write_clip(tmp_path / "a.mp4", BOTH)

    def kept(**params: object) -> set[Path]:
        raw = {"encoder": "face", "min_face": 24, **params}
        encoder = build("face", raw, Path("params.yaml"), tmp_path)
        assert isinstance(encoder, FaceEncoder)
        encoder.kept = tmp_path / "kept"
        item = encoder.item([utterance(path)], 0)
        assert isinstance(item, Item)
        encoder.read(item)
        return set((tmp_path / "kept").rglob("*.json"))

    assert len(kept(count=3)) == len(kept(count=6)) == 1
    assert len(kept(count=3, detect_every=2)) == 2
    assert len(kept(count=6, detect_every=2)) == 3


def test_a_speaker_is_not_followed(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        looked(tmp_path, ALONE[:1], faces="speaker", speaker_weights="mouths", detect_every=2)
    assert "detect_every=2 is not possible with faces='speaker'" in str(caught.value)


def test_a_place_outside_the_frame_is_a_lost_face() -> None:
    detector = Detector(24, 0.7, torch.device("cpu"))
    away = np.array([[900.0, 900.0, 980.0, 1000.0, 0.99]], np.float32)
    assert detector.follow(ALONE[0], away) is None
