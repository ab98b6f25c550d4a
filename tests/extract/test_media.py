from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from extract.contract import Failure, Item
from extract.reading.media import MediaError, media_item
from extract.reading.pictures import EvenFrames, iter_frames
from extract.reading.sound import read_audio
from pipeline.tables.schema import Utterance
from tests.extract.make_clips import clip, cut, tone, turned


def failure(read, *args, **kwargs) -> Failure:
    with pytest.raises(MediaError) as error:
        read(*args, **kwargs)
    return error.value.failure


def second_of(picture: np.ndarray) -> float:
    """When a test clip's picture was on screen, by its green."""
    return float(picture[:, :, 1].mean()) / 100


def utterance(**columns) -> Utterance:
    plain = {"utterance": "u", "dialogue": "d", "turn": 0, "speaker": "", "session": "", "text": ""}
    return Utterance(
        **{**plain, "media": "u.mp4", "start": None, "end": None, "media_hash": "0" * 64, **columns}
    )


@pytest.mark.parametrize(("rate", "stereo"), [(16000, False), (44100, True), (48000, True), (8000, False)])
def test_any_rate_and_layout_becomes_16_khz_mono(tmp_path, rate, stereo):
    samples = read_audio(clip(tmp_path / "a.mp4", 1.0, rate=rate, stereo=stereo), None, None)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16000, abs=16000 * 1024 / rate)
    spectrum = np.abs(np.fft.rfft(samples[:16000]))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert np.sqrt((samples[2000:14000] ** 2).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_stereo_is_mixed(tmp_path):
    path = clip(tmp_path / "a.wav", video=False, codec="pcm_s16le", stereo=True, sound=tone(0.5))
    np.testing.assert_allclose(read_audio(path, None, None), tone(0.5), atol=1 / 32767)


def test_a_float_track_keeps_its_precision(tmp_path):
    path = clip(tmp_path / "a.wav", video=False, codec="pcm_f32le", sound=tone(0.5))
    np.testing.assert_allclose(read_audio(path, None, None), tone(0.5), atol=1e-7)


def test_a_span_is_cut_to_the_sample(tmp_path):
    rng = np.random.default_rng(0)
    noise = (0.2 * rng.standard_normal(16000 * 3)).astype(np.float32)
    path = clip(tmp_path / "a.wav", video=False, codec="pcm_s16le", sound=noise)
    whole = read_audio(path, None, None)
    np.testing.assert_array_equal(read_audio(path, 1.25, 2.0), whole[20000:32000])
    np.testing.assert_array_equal(read_audio(path, 0.0, 0.5), whole[:8000])
    np.testing.assert_array_equal(read_audio(path, 2.5, None), whole[40000:])
    np.testing.assert_array_equal(read_audio(path, 2.5, 9.0), whole[40000:])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_span_of_a_compressed_file_is_that_part_of_it(tmp_path, suffix):
    path = clip(tmp_path / f"a.{suffix}", 3.0)
    whole, part = read_audio(path, None, None), read_audio(path, 1.0, 1.5)
    assert len(part) == 8000
    # The same wave, up to the codec's start-up and a container's clock of 1/90000 or 1/1000 s.
    shifted = [np.abs(whole[16000 + k : 24000 + k] - part).max() for k in range(-400, 400)]
    assert min(shifted) < 2e-2
    pictures = list(iter_frames(path, 1.0, 1.5))
    assert len(pictures) in (12, 13)
    for seconds, picture in pictures:
        assert 0 <= seconds < 0.5
        # A container's clock may begin with the sound codec's start-up, a few hundredths before the picture.
        assert second_of(picture) == pytest.approx(1.0 + seconds, abs=0.045 + 0.05 * (suffix == "ts"))


def test_every_picture_comes_once_upright_and_in_rgb(tmp_path):
    pictures = list(iter_frames(clip(tmp_path / "a.mp4", 1.0), None, None))
    assert [round(s, 3) for s, _ in pictures] == [round(k / 25, 3) for k in range(25)]
    picture = pictures[0][1]
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    assert picture[5, :, 0].mean() > 200 > picture[5, :, 2].mean()
    assert picture[40, :, 2].mean() > 200 > picture[40, :, 0].mean()


def test_a_turned_video_is_turned_back(tmp_path):
    quarter = next(iter_frames(turned(clip(tmp_path / "a.mp4", 0.2), 1), None, None))[1]
    assert quarter.shape == (64, 48, 3)
    assert quarter[:, 40, 0].mean() > 200 > quarter[:, 5, 0].mean()  # clockwise: the red top is on the right
    half = next(iter_frames(turned(clip(tmp_path / "b.mp4", 0.2), 2), None, None))[1]
    assert half[40, :, 0].mean() > 200 > half[5, :, 0].mean()


def test_even_frames_are_those_on_screen_at_the_middles(tmp_path):
    chosen = EvenFrames(clip(tmp_path / "a.mp4", 2.0), None, None, 4)
    assert [s for s, _ in chosen] == pytest.approx([0.24, 0.72, 1.24, 1.72])
    for seconds, picture in chosen:
        assert second_of(picture) == pytest.approx(seconds, abs=0.04)


def test_even_frames_of_a_variable_frame_rate_follow_time(tmp_path):
    times = [0.0, 0.1, 0.2, 0.3, 1.6, 2.0]
    chosen = EvenFrames(clip(tmp_path / "a.mp4", times=times, audio=False), None, None, 4)
    # The middles are .255, .765, 1.275 and 1.785 s: between 0.3 and 1.6 s one picture stands still. The header
    # of this very file claims .54 s, as headers of such files do.
    assert [s for s, _ in chosen] == pytest.approx([0.2, 0.3, 1.6])


def test_even_frames_are_the_same_however_they_were_reached(tmp_path):
    path = clip(tmp_path / "a.mp4", 2.0)
    every = dict(iter_frames(path, 0.5, 1.5))
    for seconds, picture in EvenFrames(path, 0.5, 1.5, 5):
        np.testing.assert_array_equal(picture, every[seconds])
    assert len(EvenFrames(path, 0.5, 1.5, 5)) == 5


def test_a_single_picture_serves_for_all(tmp_path):
    path = clip(tmp_path / "tiny.mp4", 0.04)
    assert len(EvenFrames(path, None, None, 6)) == 1
    assert 0 < len(read_audio(path, None, None)) < 16000 * 0.15


@pytest.mark.parametrize("name", ["with spaces.mp4", "ünïcödé – 你好.mp4", "a:b.mp4", "%03d.mp4", "-x.mp4"])
def test_any_file_name_will_do(tmp_path, monkeypatch, name):
    clip(tmp_path / "plain.mp4", 0.4).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read_audio(Path(name), None, None)) > 6000
    assert len(EvenFrames(Path(name), None, None, 2)) == 2


def test_tracks_that_are_not_there(tmp_path):
    silent, blind = clip(tmp_path / "v.mp4", 0.4, audio=False), clip(tmp_path / "a.m4a", 0.4, video=False)
    assert failure(read_audio, silent, None, None) == Failure("no_audio", "the file has no audio track")
    assert failure(EvenFrames, blind, None, None, 2) == Failure("no_face", "the file has no video track")
    assert len(EvenFrames(silent, None, None, 2)) == 2
    assert len(read_audio(blind, None, None)) > 6000


def test_a_file_that_is_missing_or_closed(tmp_path):
    gone = failure(read_audio, tmp_path / "gone.mp4", None, None)
    assert gone == Failure("missing_file", "gone.mp4: cannot be read: No such file or directory")
    assert failure(read_audio, tmp_path, None, None).status == "missing_file"
    if os.geteuid():
        clip(tmp_path / "closed.mp4", 0.2).chmod(0)
        assert failure(read_audio, tmp_path / "closed.mp4", None, None).status == "missing_file"


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3, 0.05])
@pytest.mark.parametrize("faststart", [True, False])
def test_a_truncated_clip_is_corrupt(tmp_path, faststart, share):
    path = cut(clip(tmp_path / "a.mp4", 4.0, faststart=faststart), share)
    for read in (
        lambda: read_audio(path, None, None),
        lambda: list(iter_frames(path, None, None)),
        lambda: EvenFrames(path, None, None, 3),
    ):
        found = failure(read)
        assert found.status == "corrupt"
        assert "a.mp4" not in found.reason
        assert any(why in found.reason for why in ("truncated after", "index is missing", "damaged"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n" * 500,
        b"\x1b[31m" * 500,
        np.random.default_rng(0).bytes(5000),
        b"ffconcat version 1.0\nfile other.mp4\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nother.mp4\n#EXT-X-ENDLIST\n",
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.m3u8", "a.ffconcat"])
def test_what_is_not_media_is_corrupt_and_points_nowhere(tmp_path, name, content):
    clip(tmp_path / "other.mp4", 0.2)
    (tmp_path / name).write_bytes(content)
    found = failure(read_audio, tmp_path / name, None, None)
    assert found.status == "corrupt"
    assert ("empty (0 bytes)" if not content else "not a media file") in found.reason


def test_sound_that_is_no_number_is_corrupt(tmp_path):
    sound = tone(0.5)
    sound[4000] = np.nan
    path = clip(tmp_path / "a.wav", video=False, codec="pcm_f32le", sound=sound)
    assert failure(read_audio, path, None, None).status == "corrupt"


def test_a_clip_far_longer_than_expected_is_too_long_and_not_read(tmp_path):
    path = clip(tmp_path / "a.wav", video=False, codec="pcm_s16le", sound=np.zeros(16000 * 600, np.float32))
    found = failure(read_audio, path, None, None, max_seconds=120.0)
    assert found == Failure("too_long", "at least 600.00 s long, more than max_seconds=120")
    assert len(read_audio(path, 300.0, 303.0, max_seconds=120.0)) == 48000
    assert failure(read_audio, path, 100.0, 300.0, max_seconds=120.0).status == "too_long"
    for name in ("a.mkv", "a.ts"):  # these say their length nowhere, or only roughly
        long = clip(tmp_path / name, 3.0)
        assert failure(read_audio, long, None, None, max_seconds=2.0).status == "too_long"
        assert failure(EvenFrames, long, None, None, 3, max_seconds=2.0).status == "too_long"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_span_behind_the_end_says_so(tmp_path, suffix):
    path = clip(tmp_path / f"a.{suffix}", 1.0)
    for read in (read_audio, lambda *a: list(iter_frames(*a)), lambda *a: EvenFrames(*a, 3)):
        found = failure(read, path, 8.0, 9.0)
        assert found.status == "too_short"
        assert "between 8 s and 9 s; the track ends at 1.0" in found.reason or "0.9" in found.reason


def test_the_item_is_the_content_and_the_span_wherever_the_file_lies():
    item = media_item(utterance(start=1.0, end=2.5))
    assert isinstance(item, Item)
    assert item.source == "u.mp4"
    assert item.key == media_item(utterance(media="elsewhere/u.mp4", start=1.0, end=2.5)).key
    assert item.key != media_item(utterance(start=1.0, end=2.6)).key
    assert item.key != media_item(utterance(media_hash="1" * 64, start=1.0, end=2.5)).key
    assert media_item(utterance(media="")).status == "missing_file"
    assert media_item(utterance(media_hash="")).status == "missing_file"


def test_a_part_of_the_picture_is_cut_out_and_is_part_of_the_item(tmp_path):
    path = clip(tmp_path / "a.mp4", 0.5)
    (_, whole), *_ = iter_frames(path, None, None)
    (_, right), *_ = iter_frames(Path(f"{path}#xywh=percent:50,0,50,100"), None, None)
    np.testing.assert_array_equal(right, whole[:, whole.shape[1] // 2 :])
    half = utterance(media="u.mp4#xywh=percent:50,0,50,100")
    assert media_item(half, pictures=True).key != media_item(utterance(), pictures=True).key
    assert media_item(half).key == media_item(utterance()).key  # sound has no halves
