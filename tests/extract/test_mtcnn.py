from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from torch.nn.functional import interpolate

from extract.reading import mtcnn
from extract.reading.mtcnn import Detector, area_crops, area_resize, summed_area
from tests.extract.portraits import astronaut, hopper, scene

CPU = torch.device("cpu")
BLANK = scene()
ONE = scene((astronaut(200), 140, 40))
THREE = scene((astronaut(150), 0, 100), (hopper(210), 150, 30), (astronaut(110), 365, 5))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(min_face=30, threshold=0.7, device=CPU)


def test_it_finds_what_facenet_pytorch_finds(detector: Detector) -> None:
    reference = MTCNN(keep_all=True, min_face_size=30)
    for frame, count in ((ONE, 1), (THREE, 3), (hopper(300), 1)):
        boxes, probabilities = reference.detect(frame)
        (found,) = detector([frame])
        assert len(found) == count
        np.testing.assert_allclose(found[:, :4], np.asarray(boxes, float), atol=1e-2)
        np.testing.assert_allclose(found[:, 4], np.asarray(probabilities, float), atol=1e-4)


def test_frames_at_once_and_frames_alone_agree_and_largest_comes_first(detector: Detector) -> None:
    together = detector([THREE, BLANK, ONE])
    assert [len(found) for found in together] == [3, 0, 1]
    for found, frame in zip(together, (THREE, BLANK, ONE), strict=True):
        np.testing.assert_allclose(found, detector([frame])[0], atol=1e-2)
    sides = together[0][:, 2] - together[0][:, 0]
    assert (np.diff(sides) < 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (29, 29), (40, 40), (12, 400), (60, 80)])
def test_tiny_and_blank_frames_have_no_face(detector: Detector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for frame in (np.zeros((*shape, 3), np.uint8), noise):
        (found,) = detector([frame])
        assert found.shape == (0, 5)


def test_min_face_and_threshold_leave_faces_out() -> None:
    small = scene((astronaut(110), 365, 5))
    assert len(Detector(30, 0.7, CPU)([small])[0]) == 1
    assert len(Detector(90, 0.7, CPU)([small])[0]) == 0
    assert len(Detector(30, 1.0, CPU)([small])[0]) == 0


@pytest.mark.parametrize(("height", "width"), [(7, 9), (33, 61), (134, 239), (400, 700)])
def test_area_resize_is_interpolates_area_to_the_bit(height: int, width: int) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (2, 270, 480, 3)).astype(np.uint8)
    table = torch.from_numpy(np.stack([summed_area(frame) for frame in frames]))
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    assert torch.equal(area_resize(table, height, width), interpolate(pixels, (height, width), mode="area"))


def test_area_crops_are_interpolates_area_of_the_cuts_to_the_bit() -> None:
    frames = np.random.default_rng(2).integers(0, 256, (2, 90, 120, 3)).astype(np.uint8)
    table = torch.from_numpy(np.stack([summed_area(frame) for frame in frames]))
    image, boxes = torch.tensor([1, 0, 1]), torch.tensor([[0, 0, 120, 90], [5, 7, 6, 9], [30, 11, 101, 60]])
    crops = area_crops(table, image, boxes, 24)
    for k, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        cut = torch.from_numpy(frames[image[k], y0:y1, x0:x1]).permute(2, 0, 1)[None].float()
        assert torch.equal(crops[k : k + 1], interpolate(cut, (24, 24), mode="area"))


def test_equal_passes_give_the_bits_of_a_single_pass(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = np.tile(THREE, (2, 3, 1))
    (small,) = detector([frame])
    passes: list[int] = []
    run = detector.rnet.forward

    def counted(cuts: torch.Tensor) -> object:
        passes.append(len(cuts))
        return run(cuts)

    monkeypatch.setattr(detector.rnet, "forward", counted)
    detector([frame])
    assert len(passes) > 1
    assert max(passes) <= mtcnn.PASS
    assert max(passes) - min(passes) <= 1
    monkeypatch.setattr(mtcnn, "PASS", 10**6)
    (whole,) = detector([frame])
    assert np.array_equal(small, whole)
