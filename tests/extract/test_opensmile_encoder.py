from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import av
import numpy as np
import opensmile
import pytest

from extract.contract import Failure, Features
from extract.encoders.opensmile import OpensmileEncoder, OpensmileParams
from pipeline.demo.voice import RATE, prosody, room, speak
from pipeline.errors import UserError
from pipeline.strict import validate
from tests.extract.make_clips import clip, item, tone


def encoder(media: Path = Path(), **params) -> OpensmileEncoder:
    return OpensmileEncoder(OpensmileParams(encoder="opensmile", **params), media)


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Something voiced and noisy, [S] f4."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * 16000)).astype(np.float32)
    return (tone(seconds, hertz=110 + 20 * seed) + 0.02 * noise).astype(np.float32)


@pytest.mark.parametrize(
    ("feature_set", "pooled", "frames"),
    [("eGeMAPSv02", 88, 25), ("ComParE_2016", 6373, 65), ("emobase", 988, 26), ("IS11", 4368, 59)],
)
def test_vectors_and_names_are_those_of_opensmile(feature_set, pooled, frames):
    enc = encoder(feature_set=feature_set, frames="f4")
    assert (enc.pooled_dim, enc.frames_dim) == (pooled, frames)
    features = enc.encode([speech(1.0)])[0]
    kind = opensmile.FeatureSet[feature_set]
    expected = opensmile.Smile(kind, opensmile.FeatureLevel.Functionals).process_signal(speech(1.0), 16000)
    np.testing.assert_array_equal(features.pooled, expected.to_numpy(np.float32)[0])
    assert enc.pooled_names == tuple(expected.columns)
    levels = opensmile.Smile(kind, opensmile.FeatureLevel.LowLevelDescriptors).process_signal(
        speech(1.0), 16000
    )
    np.testing.assert_array_equal(features.frames, levels.to_numpy(np.float32))
    assert enc.frames_names == tuple(levels.columns)
    np.testing.assert_allclose(np.diff(features.times), 0.01, atol=1e-6)
    assert features.times[1] == pytest.approx(levels.index.get_level_values("start")[1].total_seconds())
    assert features.pooled.dtype == features.frames.dtype == features.times.dtype == np.float32


def test_a_feature_does_not_depend_on_what_came_before():
    sounds = [speech(0.3 + 0.1 * i, i) for i in range(4)] + [np.zeros(8000, np.float32)]
    enc = encoder(frames="f4")
    first = enc.encode(sounds)
    for order in ([3, 1, 4, 0, 2], [4, 4, 2]):
        for i, again in zip(order, enc.encode([sounds[i] for i in order]), strict=True):
            assert again.pooled.tobytes() == first[i].pooled.tobytes()
            assert again.frames.tobytes() == first[i].frames.tobytes()
    fresh = encoder(frames="f4").encode([sounds[2]])[0]
    assert fresh.pooled.tobytes() == first[2].pooled.tobytes()


def test_without_frames_none_are_computed():
    features = encoder().encode([speech(0.5)])[0]
    assert features.frames is None
    assert features.pooled.shape == (88,)


def test_silence_is_sound():
    features = encoder(frames="f4").encode([np.zeros(16000, np.float32)])[0]
    assert isinstance(features, Features)
    assert np.isfinite(features.pooled).all()


def test_sound_comes_straight_from_the_clip(tmp_path):
    clip(tmp_path / "a.wav", video=False, codec="pcm_s16le", sound=speech(2.0))
    enc = encoder(tmp_path)
    whole, part = enc.extract([item(tmp_path / "a.wav"), item(tmp_path / "a.wav", 0.5, 1.5)])
    np.testing.assert_array_equal(whole.pooled, enc.encode([np.round(speech(2.0) * 32767) / 32768])[0].pooled)
    expected = enc.encode([np.round(speech(2.0)[8000:24000] * 32767) / 32768])[0]
    np.testing.assert_array_equal(part.pooled, expected.pooled)


def test_too_loud_a_sound_saturates(tmp_path):
    clip(tmp_path / "a.wav", video=False, codec="pcm_f32le", sound=3 * speech(1.0))
    samples = encoder(tmp_path).read(item(tmp_path / "a.wav"))
    assert samples.max() == pytest.approx(32767 / 32768)
    assert (samples * 32768).astype(np.int16).max() == 32767


@pytest.mark.parametrize("seconds", [0.02, 0.0599, 0.06])
def test_sixty_milliseconds_are_too_short(tmp_path, seconds):
    clip(tmp_path / "a.wav", video=False, codec="pcm_s16le", sound=speech(seconds))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encoder(tmp_path).extract([item(tmp_path / "a.wav")])[0]
    assert found.status == "too_short"
    assert "ms of sound; openSMILE needs more than 60 ms" in found.reason


@pytest.mark.parametrize("feature_set", ["eGeMAPSv02", "ComParE_2016", "emobase", "IS10"])
def test_a_little_more_than_sixty_milliseconds(feature_set):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encoder(feature_set=feature_set, frames="f4").encode([speech(0.0615)])[0]
    if feature_set == "IS10":
        assert found == Failure("too_short", "62 ms of sound is too short for IS10")
    else:
        assert np.isfinite(found.pooled).all()


def test_bad_clips_among_good_ones_keep_their_places(tmp_path):
    clip(tmp_path / "good.mp4", 1.0, sound=speech(1.0))
    clip(tmp_path / "silent film.mp4", 1.0, audio=False)
    (tmp_path / "empty.mp4").touch()
    clip(tmp_path / "long.wav", video=False, codec="pcm_s16le", sound=np.zeros(16000 * 5, np.float32))
    names = ["silent film.mp4", "good.mp4", "empty.mp4", "gone.mp4", "long.wav", "good.mp4"]
    found = encoder(tmp_path, max_seconds=4.0).extract([item(tmp_path / name) for name in names])
    statuses = ["ok" if isinstance(f, Features) else f.status for f in found]
    assert statuses == ["no_audio", "ok", "corrupt", "missing_file", "too_long", "ok"]
    assert found[1].pooled.tobytes() == found[5].pooled.tobytes()


def test_it_pickles_and_its_fingerprint_is_of_what_decides_the_value():
    assert len(pickle.dumps(encoder())) < 2000
    assert encoder().fingerprint() == encoder(max_failed=0.5).fingerprint()
    assert encoder().fingerprint() != encoder(feature_set="emobase").fingerprint()
    assert encoder().fingerprint() != encoder(max_seconds=60.0).fingerprint()


def test_an_unknown_set_names_the_known_ones():
    with pytest.raises(UserError, match=r"extract.opensmile.feature_set='eGeMAPS': .*'eGeMAPSv02'"):
        validate(
            OpensmileParams,
            {"encoder": "opensmile", "feature_set": "eGeMAPS"},
            Path("p.yaml"),
            "extract.opensmile",
        )


def test_egemaps_depends_on_the_sampling_rate_as_the_guide_says():
    """At 48 kHz its features differ by 20 to 40% on average; differences above 100% count as 100%."""
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    differences = []
    for seed, emotion in enumerate(("anger", "sadness", "happiness", "neutral")):
        draw = np.random.default_rng(seed)
        words = "You could have told me yesterday, when there was still time to change it."
        sound = room(speak(words, "f2", prosody(emotion, draw)), draw)
        at_16, at_48 = (
            smile.process_signal(resampled(sound, RATE, rate), rate).to_numpy()[0] for rate in (16000, 48000)
        )
        differences.append(np.minimum(np.abs(at_48 - at_16) / np.abs(at_16).clip(1e-9), 1))
    assert 0.2 < np.median(differences, 0).mean() < 0.4


def resampled(sound: np.ndarray, rate: int, to: int) -> np.ndarray:
    resampler = av.AudioResampler("flt", "mono", to)
    frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="flt", layout="mono")
    frame.sample_rate = rate
    return np.concatenate([out.to_ndarray()[0] for f in (frame, None) for out in resampler.resample(f)])
