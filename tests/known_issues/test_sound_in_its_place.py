"""Sound that was cut elsewhere, shifted or refused: wrong byte rates, gaps, joined recordings, many channels."""

from __future__ import annotations

import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from extract.reading.media import MediaError
from extract.reading.sound import read_audio
from pipeline.probe import probe
from tests.extract.make_clips import clip

RATE = 48000


def steps(seconds: float, rate: int, begin: float = 0.0) -> np.ndarray:
    """A tone for each half second [S] f4: 300 Hz, and 50 Hz more each time; `begin`: the first one's second."""
    at = begin + np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * np.cumsum(300 + 50 * np.floor(at * 2)) / rate)).astype(np.float32)


def heard(samples: np.ndarray) -> list[float | None]:
    """For each tenth of a second the half second whose tone it is; None: silence."""
    found: list[float | None] = []
    for k in range(0, len(samples) - 1599, 1600):
        part = samples[k : k + 1600]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(1600), 16000))
        found.append(round((int(spectrum.argmax()) - 300) / 50) / 2 if np.abs(part).max() > 0.01 else None)
    return found


def write_wav(path: Path, samples: np.ndarray, byte_rate: int, channels: int = 1, kind: int = 1) -> Path:
    """Interleaved samples as a hand-written WAV; `kind` 1: i2, 7: mu-law bytes."""
    size = samples.itemsize
    head = struct.pack("<HHIIHHH", kind, channels, 16000, byte_rate, size * channels, 8 * size, 0)
    data = samples.tobytes()
    chunks = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    return path


def encode(
    path: Path, sound: np.ndarray, codec: str, rate: int = RATE, gap: tuple[float, float] = (0, 0)
) -> Path:
    """`sound` [S] f4 by any codec; packets that begin inside `gap` are lost, and the time stamps say so."""
    with av.open(str(path), "w") as container:
        options = {"strict": "-2"} if codec == "vorbis" else {}
        layout = "stereo" if codec == "vorbis" else "mono"
        track = container.add_stream(codec, rate=rate, layout=layout, options=options)
        assert isinstance(track, AudioStream)
        track.codec_context.bit_rate = 128_000
        kind = track.codec_context.format.name
        size = track.codec_context.frame_size if codec in ("libmp3lame", "flac", "vorbis", "wmav2") else 960
        resampler = av.AudioResampler(kind, layout, rate, size or 1024)
        for at in range(0, len(sound) - 959, 960):
            frame = av.AudioFrame.from_ndarray(sound[None, at : at + 960].copy(), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            for out in resampler.resample(frame):
                assert out.pts is not None
                if not gap[0] <= out.pts / rate < gap[1]:
                    container.mux(track.encode(out))
        container.mux(track.encode(None))
    return path


@pytest.mark.parametrize("factor", [0, 0.5, 1, 2, 8])
@pytest.mark.parametrize("shape", ["mono", "stereo", "mu-law"])
def test_a_wav_is_cut_by_its_samples_whatever_its_byte_rate_says(tmp_path, factor, shape):
    pcm = np.round(steps(6, 16000) * 30000).astype("<i2")
    kind, channels, data = 1, 1, pcm
    if shape == "stereo":
        channels, data = 2, np.repeat(pcm, 2)
    if shape == "mu-law":
        loud = np.round(np.log1p(255 * np.abs(pcm / 32768)) / np.log(256) * 127).astype(np.uint8)
        kind, data = 7, np.where(pcm < 0, 0x7F - loud, 0xFF - loud).astype(np.uint8)
    path = write_wav(tmp_path / "a.wav", data, int(16000 * data.itemsize * channels * factor), channels, kind)
    whole = read_audio(path, None, None)
    assert heard(whole) == [k // 5 / 2 for k in range(60)]
    for start, end in ((0.01, 0.5), (3.0, 4.0), (5.5, 6.0)):
        np.testing.assert_array_equal(
            read_audio(path, start, end), whole[round(start * 16000) : round(end * 16000)]
        )


def test_an_avi_is_cut_by_its_samples_whatever_its_rate_says(tmp_path):
    path = encode(tmp_path / "a.avi", steps(6, 16000), "pcm_s16le", rate=16000)
    whole = read_audio(path, None, None)
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8
    scale, rate = struct.unpack("<II", data[at + 20 : at + 28])
    data[at + 20 : at + 28] = struct.pack("<II", scale, rate * 2)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_audio(path, None, None), whole)
    np.testing.assert_array_equal(read_audio(path, 3.0, 4.0), whole[48000:64000])


@pytest.mark.parametrize("lost", [0.4, 2.0])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("ts", "mp2"),
        ("mkv", "libopus"),
        ("ogg", "libopus"),
        ("flv", "aac"),
        ("mp4", "aac"),
        ("mkv", "pcm_s16le"),
    ],
)
def test_a_gap_is_silence_and_no_shift(tmp_path, suffix, codec, lost):
    path = encode(tmp_path / f"a.{suffix}", steps(9, RATE), codec, gap=(3.0, 3.0 + lost))
    plain = [k // 5 / 2 for k in range(90)]
    whole = heard(read_audio(path, None, None))
    silent = range(31, round((3 + lost) * 10) - 1)  # a codec's first and last packet ring
    for k in (*range(29), *range(round((3 + lost) * 10) + 2, 88)):
        assert whole[k] == plain[k], k
    assert all(whole[k] is None for k in silent)
    assert heard(read_audio(path, 6.0, 7.0)) == plain[60:70]
    across = read_audio(path, 2.5, 4.0)
    assert len(across) == 24000
    assert heard(across)[:4] == plain[25:29]
    inside = read_audio(path, 3.1, 3.3)
    assert len(inside) == 3200
    assert np.abs(inside).max() < 0.1
    assert probe(path).loudness.shape[1] == pytest.approx(90, abs=2)


def test_packets_lost_one_by_one_do_not_add_up(tmp_path):
    path, sound = tmp_path / "a.mkv", steps(9, RATE)
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for k, at in enumerate(range(0, len(sound), 960)):
            if k % 10 != 9:
                part = np.round(sound[None, at : at + 960] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                container.mux(track.encode(frame))
        container.mux(track.encode(None))
    assert heard(read_audio(path, None, None))[81:84] == [8.0] * 3
    assert heard(read_audio(path, 8.1, 8.4)) == [8.0] * 3


@pytest.mark.parametrize(
    ("suffix", "codec"), [("ts", "mp2"), ("mpg", "mp2"), ("ogg", "libopus"), ("mkv", "libopus")]
)
def test_joined_recordings_follow_one_another(tmp_path, suffix, codec):
    one = encode(tmp_path / f"one.{suffix}", steps(3, RATE), codec)
    two = encode(tmp_path / f"two.{suffix}", steps(5, RATE, begin=3.0), codec)
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    whole = heard(read_audio(path, None, None))
    plain = [k // 5 / 2 for k in range(80)]
    for k in range(78):
        assert whole[k] in (plain[k], plain[max(0, k - 1)]), k
    assert heard(read_audio(path, 6.1, 6.4)) == [6.0] * 3
    assert probe(path).seconds == pytest.approx(8.0, abs=0.2)


@pytest.mark.parametrize("channels", [2, 5, 9, 10, 11, 13, 17, 32])
def test_any_number_of_channels_becomes_one(tmp_path, channels):
    pcm = np.round(steps(1, 16000) * 30000).astype("<i2")
    data = np.repeat(pcm[:, None], channels, 1)
    path = write_wav(tmp_path / "a.wav", data, 32000 * channels, channels)
    np.testing.assert_allclose(read_audio(path, None, None), pcm / 32768, atol=1e-4)
    np.testing.assert_array_equal(read_audio(path, 0.25, 0.75), read_audio(path, None, None)[4000:12000])
    assert not probe(path).error


def test_a_format_that_changes_midway_is_read_on(tmp_path):
    one = clip(tmp_path / "one.ts", 2.0, video=False, rate=44100)
    two = clip(tmp_path / "two.ts", 2.0, video=False, rate=16000, stereo=True)
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    samples = read_audio(path, None, None)
    assert len(samples) == pytest.approx(64000, abs=3000)
    for second in (0.5, 1.5, 2.5, 3.5):
        spectrum = np.abs(np.fft.rfft(samples[round(second * 16000) :][:4000], 16000))
        assert int(spectrum.argmax()) == pytest.approx(440, abs=4)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44100),
        ("a.flac", "flac", 44100),
        ("a.ogg", "vorbis", 44100),
        ("a.opus", "libopus", RATE),
    ],
)
def test_a_span_far_behind_costs_its_own_memory_and_has_the_same_bits(tmp_path, name, codec, rate):
    path = encode(tmp_path / name, steps(120, rate), codec, rate=rate)
    whole = read_audio(path, None, None)
    first = 105 / 4410 if name == "a.mp3" else 0.0
    tracemalloc.start()
    part = read_audio(path, 110.0, 111.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    places = [110 * 16000 - round(first * 16000) + k for k in range(-600, 600)]
    assert any(np.array_equal(whole[k : k + len(part)], part) for k in places)
    assert len(part) == 24000
    assert peak < 2e6


def test_frames_without_a_time_stamp_follow_one_another(tmp_path):
    """As the last one of a WMA file."""
    wma = encode(tmp_path / "a.asf", steps(3, 44100), "wmav2", rate=44100)
    with av.open(str(wma)) as container:
        assert any(frame.time is None for frame in container.decode(audio=0))
    assert heard(read_audio(wma, 2.0, 2.5)) == [2.0] * 5
    assert len(read_audio(wma, None, None)) == pytest.approx(48000, abs=3000)


def test_sound_after_its_end_is_too_short_and_no_silence(tmp_path):
    path = encode(tmp_path / "a.ts", steps(3, RATE), "mp2")
    with pytest.raises(MediaError, match="no sound between"):
        read_audio(path, 4.0, 5.0)
