from __future__ import annotations

import numpy as np
import pytest

from extract.reading import faces
from extract.reading.faces import Seen

FRAME = np.zeros((100, 200, 3), np.uint8)


def box(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y + side, 0.9]


def seen(second: float, *boxes: list[float]) -> Seen:
    marks = [np.full((2, 2), round(b[0]), np.uint8) for b in boxes]
    return Seen(second, np.array(boxes, np.float32).reshape(-1, 5), marks)


def test_pick_by_mode() -> None:
    left, middle, right = box(0, 0, 60), box(80, 30, 30), box(150, 10, 40)
    boxes = np.array([left, right, middle], np.float32)  # largest first, as the detector gives them
    assert faces.pick(boxes, FRAME, "all").tolist() == boxes.tolist()
    assert faces.pick(boxes, FRAME, "track").tolist() == boxes.tolist()
    assert faces.pick(boxes, FRAME, "largest")[:, 0].tolist() == [0]
    assert faces.pick(boxes, FRAME, "most_central")[:, 0].tolist() == [80]
    for mode in ("all", "largest", "most_central", "track"):
        assert faces.pick(boxes[:0], FRAME, mode).shape == (0, 5)


def test_follow_keeps_the_face_that_is_there_most_not_the_largest() -> None:
    clip = [
        seen(0, box(120, 10, 60)),
        seen(1, box(10, 10, 20), box(122, 10, 60)),
        seen(2, box(16, 12, 21)),
        seen(3),
        seen(4, box(20, 14, 22), box(150, 60, 30)),
    ]
    kept = faces.follow(clip)
    assert [k.seconds for k in kept] == [1, 2, 4]
    assert [k.boxes[:, 0].tolist() for k in kept] == [[10], [16], [20]]
    assert [int(k.crops[0][0, 0]) for k in kept] == [10, 16, 20]


def test_follow_gives_each_face_one_track_when_two_cross() -> None:
    clip = [seen(t, box(10 + 15 * t, 10, 40), box(100 - 15 * t, 15, 40)) for t in range(7)]
    kept = faces.follow(clip)
    assert [k.boxes[0, 1] for k in kept] == [10] * 7
    assert [k.boxes[0, 0] for k in kept] == [10 + 15 * t for t in range(7)]


def test_follow_starts_anew_after_a_jump_and_breaks_ties_by_size() -> None:
    clip = [
        seen(0, box(0, 0, 20)),
        seen(1, box(1, 0, 20)),
        seen(2, box(140, 0, 40)),
        seen(3, box(141, 0, 40)),
    ]
    assert [k.seconds for k in faces.follow(clip)] == [2, 3]
    assert faces.follow([]) == []


@pytest.mark.parametrize(
    ("frames", "count", "kept"),
    [
        (20, 20, list(range(20))),
        (39, 20, list(range(20))),
        (40, 20, list(range(0, 40, 2))),
        (67, 20, list(range(0, 60, 3))),
        (3, 20, [0, 1, 2]),
        (5, 1, [0]),
    ],
)
def test_thin_is_the_published_rule(frames: int, count: int, kept: list[int]) -> None:
    assert [s.seconds for s in faces.thin([seen(t) for t in range(frames)], count)] == kept


def test_find_detects_small_and_scales_back() -> None:
    sizes = []

    def detect(frames):  # one face over the whole frame, one beyond its edge
        sizes.extend(f.shape[:2] for f in frames)
        h, w = frames[0].shape[:2]
        return [np.array([[0, 0, w, h, 0.9], [w + 1, 0, w + 9, h, 0.8]], np.float32) for _ in frames]

    for longest, size in ((50, (25, 50)), (0, (100, 200)), (400, (100, 200))):
        sizes.clear()
        (boxes,) = faces.find([FRAME], detect, longest)
        assert sizes == [size]
        np.testing.assert_allclose(boxes, [[0, 0, 200, 100, 0.9]], rtol=1e-6)


def test_groups_hold_consecutive_frames_of_one_size() -> None:
    wide, tall = np.zeros((2, 4, 3)), np.zeros((4, 2, 3))
    shapes = [wide, wide, wide, tall, wide]
    got = list(faces.groups(enumerate(shapes), 2))
    assert [[i for i, _ in group] for group in got] == [[0, 1], [2], [3], [4]]
    assert list(faces.groups([], 2)) == []


def test_cut_square_is_centred_and_repeats_the_border() -> None:
    frame = np.arange(100 * 200 * 3, dtype=np.int64).reshape(100, 200, 3)
    cut = faces.cut_square(frame, np.array([50, 20, 70, 60, 0.9]), 0.0)
    np.testing.assert_array_equal(cut, frame[20:60, 40:80])
    cut = faces.cut_square(frame, np.array([50, 20, 70, 60, 0.9]), 0.1)
    np.testing.assert_array_equal(cut, frame[18:62, 38:82])
    cut = faces.cut_square(frame, np.array([-10, 80, 10, 100, 0.9]), 0.0)
    np.testing.assert_array_equal(cut[:, 10:], frame[80:100, 0:10])
    np.testing.assert_array_equal(cut[:, :10], np.repeat(frame[80:100, :1], 10, axis=1))


def test_cut_box_stays_inside_and_cuts_fractions_off() -> None:
    frame = np.arange(100 * 200 * 3, dtype=np.int64).reshape(100, 200, 3)
    cut = faces.cut_box(frame, np.array([-5.5, 20.9, 30.9, 140.0, 0.9]), 0.0)
    np.testing.assert_array_equal(cut, frame[20:100, 0:30])
    cut = faces.cut_box(frame, np.array([100.0, 40.0, 120.0, 60.0, 0.9]), 0.5)
    np.testing.assert_array_equal(cut, frame[35:65, 95:125])


def test_stretch_and_shrink_sizes() -> None:
    ramp = np.tile(np.arange(60, dtype=np.uint8)[:, None, None], (1, 30, 3))
    assert faces.stretch(ramp, 20).shape == (20, 20, 3)
    # Means of three rows each: 1, 4, 7, …
    assert faces.stretch(ramp, 20)[:, 0, 0].tolist() == list(range(1, 60, 3))
    assert faces.shrink(ramp[:30], 10)[:, 0, 0].tolist() == list(range(1, 30, 3))
    assert faces.shrink(ramp[:1, :1], 64).shape == (64, 64, 3)
