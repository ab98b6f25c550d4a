"""Pictures that a player shows and this project did not: mirrored, standing still, joined, out of order, too large."""

from __future__ import annotations

import gc
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from extract.reading.media import MediaError
from extract.reading.pictures import LONGEST, EvenFrames, iter_frames
from pipeline.probe import probe
from tests.extract.make_clips import clip, tone

TICK = Fraction(1, 1000)


def write(
    path: Path,
    pictures: list[tuple[float, np.ndarray]],
    codec: str = "libx264",
    sound: float = 0.0,
    **options: str,
) -> Path:
    """Pictures [H, W, 3] u1 at seconds; with `sound`, a tone of so many seconds beside them."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=25, options=options)
        assert isinstance(track, VideoStream)
        track.height, track.width = pictures[0][1].shape[:2]
        track.pix_fmt = "yuv420p"
        if path.suffix in (".mp4", ".mkv"):
            track.codec_context.time_base = TICK
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for second, picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(second * 1000), TICK
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
        if audio:
            for at in range(0, round(sound * 16000), 1024):
                part = tone(sound)[None, at : at + 1024]
                piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), "fltp", "mono")
                piece.sample_rate, piece.pts = 16000, at
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


def grey(value: float) -> np.ndarray:
    return np.full((48, 64, 3), round(value), np.uint8)


def shown(frames) -> list[tuple[float, int]]:
    """(seconds, brightness to the nearest ten) of pictures."""
    return [(round(seconds, 3), 10 * round(float(picture.mean()) / 10)) for seconds, picture in frames]


def quarters(height: int, width: int) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2, 0] = picture[: height // 2, width // 2 :, 1] = 255
    picture[height // 2 :, : width // 2, 2] = picture[height // 2 :, width // 2 :] = 255
    return picture


TURNS = {  # what is stored, and the matrix (a, b, c, d) by which a player shows `quarters`
    "as it is": (lambda p: p, (1, 0, 0, 1)),
    "mirrored": (lambda p: p[:, ::-1], (-1, 0, 0, 1)),
    "upside down and mirrored": (lambda p: p[::-1], (1, 0, 0, -1)),
    "half a turn": (lambda p: p[::-1, ::-1], (-1, 0, 0, -1)),
    "a quarter clockwise": (lambda p: np.rot90(p, 1), (0, 1, -1, 0)),
    "a quarter back": (lambda p: np.rot90(p, -1), (0, -1, 1, 0)),
    "transposed": (lambda p: p.transpose(1, 0, 2), (0, 1, 1, 0)),
    "transposed the other way": (lambda p: p[::-1, ::-1].transpose(1, 0, 2), (0, -1, -1, 0)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_picture_is_turned_and_mirrored_as_its_matrix_says(tmp_path, turn):
    store, (a, b, c, d) = TURNS[turn]
    path = write(tmp_path / "a.mp4", [(k / 25, store(quarters(96, 128))) for k in range(3)], crf="5")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *(n << 16 for n in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(data)
    picture = next(iter_frames(path, None, None))[1]
    assert picture.shape == (96, 128, 3)
    assert np.abs(picture.astype(int) - quarters(96, 128)).mean() < 5


def test_a_picture_that_stands_still_is_there(tmp_path):
    path = write(tmp_path / "a.mp4", [(0, grey(60)), (4, grey(120)), (8, grey(180))], sound=12, bf="0")
    assert shown(iter_frames(path, 1, 2)) == [(0, 60)]
    assert shown(EvenFrames(path, 1, 2, 3)) == [(0, 60)]
    assert shown(iter_frames(path, 3.5, 4.5)) == [(0, 60), (0.5, 120)]
    assert shown(EvenFrames(path, 3.5, 4.5, 2)) == [(0, 60), (0.5, 120)]
    assert shown(iter_frames(path, 9, 10)) == shown(EvenFrames(path, 9, 10, 3)) == [(0, 180)]
    assert shown(EvenFrames(path, 7, 11, 4)) == [(0, 120), (1, 180)]
    for read in (lambda: list(iter_frames(path, 12.5, 13)), lambda: EvenFrames(path, 12.5, 13, 3)):
        with pytest.raises(MediaError, match="no picture between") as found:
            read()
        assert found.value.failure.status == "too_short"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_header_that_gives_too_short_a_length_hides_no_picture(tmp_path, name):
    path = clip(tmp_path / name, times=[0.0, 0.1, 0.2, 0.3, 1.6, 2.0], audio=False)
    assert [at for at, _ in iter_frames(path, 1.0, 1.9)] == pytest.approx([0, 0.6])
    assert [at for at, _ in EvenFrames(path, 1.0, 1.9, 9)] == pytest.approx([0, 0.6])


def test_a_span_of_a_steady_rate_begins_with_its_own_first_picture(tmp_path):
    path = write(tmp_path / "a.mp4", [(k / 25, grey(2 * k)) for k in range(75)])
    assert shown(iter_frames(path, 1.013, 1.1))[0][0] == 0.027
    assert len(list(iter_frames(path, 1.013, 1.1))) == 2


@pytest.mark.parametrize("name", ["a.avi", "a.h264", "a.hevc", "a.mp4", "a.mkv"])
def test_pictures_come_in_order_and_each_at_its_time(tmp_path, name):
    """H.264 with B-frames in an AVI, whose stamps count packets, and raw streams, which have none."""
    codec = "libx265" if name == "a.hevc" else "libx264"
    options = (
        {"x265-params": "log-level=none:bframes=3"} if codec == "libx265" else {"bf": "3", "b_strategy": "0"}
    )
    pictures = [(k / 25, grey(20 + 3 * k)) for k in range(75)]
    path = write(tmp_path / name, pictures, codec, **options)
    found = list(iter_frames(path, None, None))
    assert [at for at, _ in found] == pytest.approx([k / 25 for k in range(75)], abs=2e-3)
    brightness = [picture.mean() for _, picture in found]
    assert brightness == pytest.approx([20 + 3 * k for k in range(75)], abs=2.5)
    part = [(at, picture.mean()) for at, picture in iter_frames(path, 1.0, 2.0)]
    assert len(part) == 25
    assert [value for _, value in part] == pytest.approx(brightness[25:50], abs=1e-6)
    even = [(at, picture.mean()) for at, picture in EvenFrames(path, None, None, 3)]
    assert even == [pytest.approx((k / 25, brightness[k]), abs=2e-3) for k in (12, 37, 62)]


@pytest.mark.parametrize("suffix", ["ts", "mpg", "mkv", "webm"])
def test_joined_recordings_follow_one_another(tmp_path, suffix):
    codec = {"mpg": "mpeg2video", "webm": "libvpx"}.get(suffix, "libx264")
    both = tmp_path / f"both.{suffix}"
    for name, values in (("one", range(75)), ("two", range(75, 175))):
        path = tmp_path / f"{name}.{suffix}"
        write(path, [(k / 25, grey(20 + value)) for k, value in enumerate(values)], codec)
        with both.open("ab") as file:
            file.write(path.read_bytes())
    found = list(iter_frames(both, None, None))
    assert len(found) == 175
    assert [at for at, _ in found] == pytest.approx([k / 25 for k in range(175)], abs=0.13)
    for start, end in ((1.0, 2.0), (4.0, 5.0), (6.0, 6.5)):
        for frames in (iter_frames(both, start, end), EvenFrames(both, start, end, 5)):
            for at, picture in frames:
                assert picture.mean() == pytest.approx(20 + 25 * (start + at), abs=5)
    assert probe(both).seconds == pytest.approx(7.0, abs=0.2)


def test_pictures_too_large_to_decode_are_refused_with_a_reason(tmp_path):
    large = write(tmp_path / "large.mov", [(0, np.zeros((4400, 8200, 3), np.uint8))], preset="ultrafast")
    with pytest.raises(MediaError, match="pictures of 8200 x 4400 pixels") as found:
        next(iter_frames(large, None, None))
    assert found.value.failure.status == "failed"
    assert "8200 x 4400" in probe(large).error


def test_a_large_picture_is_shrunk_and_an_ordinary_one_is_not(tmp_path):
    wide = write(tmp_path / "wide.mp4", [(0, quarters(1000, 3840))], preset="ultrafast")
    picture = next(iter_frames(wide, None, None))[1]
    assert picture.shape == (round(1000 * LONGEST / 3840), LONGEST, 3)
    assert picture[100, 100].argmax() == 0
    ordinary = write(tmp_path / "ordinary.mp4", [(0, quarters(1440, LONGEST))], preset="ultrafast")
    assert next(iter_frames(ordinary, None, None))[1].shape == (1440, LONGEST, 3)


def test_no_decoded_picture_holds_on_to_itself(tmp_path):
    path = write(tmp_path / "a.mp4", [(k / 25, grey(k)) for k in range(50)])
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in iter_frames(path, None, None)) == 50
        assert sum(isinstance(one, av.VideoFrame) for one in gc.get_objects()) <= 1
    finally:
        gc.enable()


def test_even_frames_say_how_many_they_are_before_they_are_decoded(tmp_path):
    path = write(tmp_path / "a.mp4", [(k / 25, grey(3 * k)) for k in range(50)])
    for count in (1, 7, 20, 60, 200):
        for span in ((None, None), (0.5, 1.5), (0.513, 0.9)):
            frames = EvenFrames(path, *span, count)
            assert len(list(frames)) == len(frames)
