"""Sound and pictures of an utterance in different places: channels, files per speaker, IEMOCAP's two microphones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from extract.contract import Failure, Item
from extract.encoders.face import FaceEncoder
from extract.encoders.opensmile import OpensmileEncoder, OpensmileParams
from extract.encoders.speech import SpeechEncoder, SpeechParams
from extract.reading.encoder import MediaEncoder
from extract.reading.face_params import FaceParams
from extract.reading.media import MediaError, media_item
from extract.reading.pictures import iter_frames
from extract.reading.sound import read_audio
from extract.reading.speaker import read_sound
from pipeline.prepare import prepare
from pipeline.tables.schema import Utterance, read_utterances
from tests.extract.make_clips import clip, sha256, tone
from tests.pipeline import raw_folders

RATE = 16000
LEFT, RIGHT, SENTENCE = 300.0, 700.0, 1100.0  # Hz
RED, BLUE = (200, 0, 0), (0, 0, 200)


def hertz(samples: np.ndarray) -> set[int]:
    """Return the tones in a sound: frequencies with at least a tenth of the loudest one's amplitude."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    peaks = np.flatnonzero(
        (spectrum > 0.1 * spectrum.max())
        & (spectrum >= np.roll(spectrum, 1))
        & (spectrum >= np.roll(spectrum, -1))
    )
    return {int(round(float(peak) * RATE / len(samples), -2)) for peak in peaks}


def side_by_side(path: Path, seconds: float, stereo: bool = True) -> None:
    """Write an .avi as IEMOCAP's: red at the left and blue at the right, a tone in each channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((48, 128, 3), np.uint8)
    picture[:, :64], picture[:, 64:] = RED, BLUE
    tones = np.stack([tone(seconds, RATE, LEFT), tone(seconds, RATE, RIGHT)])
    tones = tones if stereo else tones.mean(0, keepdims=True)
    layout = "stereo" if stereo else "mono"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 128, 48, "yuv420p"
        track = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
        for _ in range(round(25 * seconds)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        packed = np.round(32767 * tones).astype(np.int16).T.reshape(1, -1)
        samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format="s16", layout=layout)
        samples.sample_rate = RATE
        container.mux(track.encode(samples))
        container.mux(track.encode(None))


def iemocap(root: Path, sentences: bool, stereo: bool = True) -> list[Utterance]:
    """Write a release of session 1 with videos and return its utterances."""
    corpus = raw_folders.iemocap(root / "raw")
    for session in "15":
        name = f"Ses0{session}F_impro01"
        dialog = root / f"raw/Session{session}/dialog"
        side_by_side(dialog / f"avi/DivX/{name}.avi", 20.0, stereo)
        if sentences:
            for turn, seconds in (("F000", 1.9456), ("M000", 1.3825), ("M001", 1.5), ("F003", 1.5)):
                path = root / f"raw/Session{session}/sentences/wav/{name}/{name}_{turn}.wav"
                raw_folders.wav(path, tone(seconds, RATE, SENTENCE))
    prepare(corpus, root / "utterances.csv", root / "labels.csv")
    return read_utterances(root / "utterances.csv")


def item_of(encoder: MediaEncoder[Any], utterance: Utterance) -> Item:
    item = encoder.item([utterance], 0)
    assert isinstance(item, Item)
    return item


def heard(encoder: OpensmileEncoder, utterance: Utterance) -> np.ndarray:
    samples = encoder.read(item_of(encoder, utterance))
    assert isinstance(samples, np.ndarray)
    return samples


@pytest.fixture(autouse=True)
def _no_media_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMOFUSE_MEDIA", raising=False)


@pytest.mark.parametrize("sentences", [True, False])
def test_iemocap_has_the_speakers_half_and_microphone(tmp_path: Path, sentences: bool) -> None:
    utterances = iemocap(tmp_path, sentences)
    encoder = OpensmileEncoder(OpensmileParams(encoder="opensmile"), tmp_path / "raw")
    assert [u.speaker for u in utterances[:4]] == ["Ses01F", "Ses01M", "Ses01M", "Ses01F"]
    for u in utterances:
        at_left = u.speaker.endswith("F")  # the letter in the dialogue's name, Ses01F
        samples = heard(encoder, u)
        assert u.start is not None
        assert u.end is not None
        assert hertz(samples) == {int(SENTENCE if sentences else LEFT if at_left else RIGHT)}
        assert len(samples) / RATE == pytest.approx(u.end - u.start, abs=2 / RATE)
        seen = media_item(u, pictures=True)
        assert isinstance(seen, Item)
        _, picture = next(iter_frames(encoder.span(seen).path, u.start, u.end))
        assert picture.shape == (48, 64, 3)
        assert np.abs(picture.reshape(-1, 3).mean(0) - (RED if at_left else BLUE)).max() < 12


def test_the_mix_of_both_microphones_has_both_voices(tmp_path: Path) -> None:
    side_by_side(tmp_path / "a.avi", 2.0)
    assert hertz(read_audio(tmp_path / "a.avi", None, None)) == {int(LEFT), int(RIGHT)}


def test_iemocap_with_one_channel_says_so(tmp_path: Path) -> None:
    first, *_ = iemocap(tmp_path, sentences=False, stereo=False)
    encoder = OpensmileEncoder(OpensmileParams(encoder="opensmile"), tmp_path / "raw")
    assert encoder.read(item_of(encoder, first)) == Failure(
        "no_audio", "#channel=left: no such channel; the sound has 1"
    )


@pytest.mark.parametrize(
    ("channel", "expected"),
    [("left", 200), ("right", 400), ("1", 200), ("3", 600), ("4", 800), ("6", 1200)],
)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_channel_of_surround_sound_is_picked_before_mixing(
    tmp_path: Path, channel: str, expected: int, rate: int
) -> None:
    tones = np.stack([tone(1.0, rate, 200.0 * (1 + i)) for i in range(6)], 1)
    raw_folders.wav(tmp_path / "room.wav", tones, rate)
    samples = read_audio(Path(f"{tmp_path}/room.wav#channel={channel}"), None, None)
    assert hertz(samples) == {expected}
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.01)  # not attenuated
    part = read_audio(Path(f"{tmp_path}/room.wav#channel={channel}"), 0.25, 0.5)
    np.testing.assert_allclose(part, samples[4000:8000], atol=1e-4)


def test_a_channel_equals_the_same_sound_alone(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2))
    raw_folders.wav(tmp_path / "both.wav", noise)
    raw_folders.wav(tmp_path / "right.wav", noise[:, 1])
    np.testing.assert_array_equal(
        read_audio(Path(f"{tmp_path}/both.wav#channel=right"), None, None),
        read_audio(tmp_path / "right.wav", None, None),
    )


@pytest.mark.parametrize(("channel", "count"), [("left", 1), ("right", 1), ("2", 1), ("3", 2), ("7", 6)])
def test_a_channel_that_is_not_there(tmp_path: Path, channel: str, count: int) -> None:
    raw_folders.wav(tmp_path / "a.wav", np.stack([tone(0.5)] * count, 1))
    with pytest.raises(MediaError) as caught:
        read_audio(Path(f"{tmp_path}/a.wav#channel={channel}"), None, None)
    assert caught.value.failure == Failure(
        "no_audio", f"#channel={channel}: no such channel; the sound has {count}"
    )


def row(**columns: object) -> Utterance:
    plain = {"utterance": "u", "dialogue": "d", "turn": 0, "speaker": "", "session": "", "text": ""}
    places = {"media": "u.mp4", "start": 1.0, "end": 2.5, "media_hash": "0" * 64}
    return Utterance(**{**plain, **places, **columns})  # type: ignore[arg-type]


def content(utterance: Utterance, **kind: bool) -> dict[str, object]:
    item = media_item(utterance, **kind)
    assert isinstance(item, Item)
    return dict(item.content)


def test_rows_without_their_own_sound_keep_their_keys() -> None:
    old = {"media": "0" * 64, "start": 1.0, "end": 2.5}
    half = row(media="u.mp4#xywh=percent:50,0,50,100")
    assert content(row()) == content(half) == old
    assert content(row(), pictures=True) == content(row(), pictures=True, listens=True) == old
    assert content(half, pictures=True, listens=True) == {**old, "part": [50, 0, 50, 100]}
    # The key before rows could have their own sound, so that journals remain valid.
    item = media_item(row())
    assert isinstance(item, Item)
    assert item.key == "32b2ca5f8e3c94aa254c33cb7e2047288d85074ed7987fa0caacfd7111425b5f"


@pytest.mark.parametrize(
    ("audio", "start", "end", "channel"),
    [
        ("a.wav", 1.0, 2.5, None),
        ("a.wav#channel=right", 1.0, 2.5, "right"),
        ("a.wav#t=0", None, None, None),
        ("a.wav#t=3,4.5&channel=2", 3.0, 4.5, "2"),
    ],
)
def test_an_item_has_all_that_decides_the_sound(
    audio: str, start: float | None, end: float | None, channel: str | None
) -> None:
    u = row(audio=audio, audio_hash="1" * 64)
    own = {"media": "1" * 64, "start": start, "end": end} | ({"channel": channel} if channel else {})
    assert content(u) == own
    assert content(u, pictures=True) == content(row(), pictures=True)
    assert content(u, pictures=True, listens=True) == {**content(row(), pictures=True), "sound": own}
    item = media_item(u)
    assert isinstance(item, Item)
    assert item.source == audio


def test_a_channel_of_the_pictures_file_decides_the_sound_only() -> None:
    u = row(media="u.mp4#channel=left")
    assert content(u) == {**content(row()), "channel": "left"}
    assert content(u, pictures=True) == content(row())
    assert content(u, pictures=True, listens=True)["sound"] == content(u)


def test_only_a_face_stream_that_listens_has_the_sound_in_its_items() -> None:
    u = row(audio="a.wav", audio_hash="1" * 64)
    for params in (FaceParams(encoder="face"), FaceParams(encoder="face", faces="track")):
        assert "sound" not in item_of(FaceEncoder(params, Path()), u).content
    speaker = FaceEncoder(FaceParams(encoder="face", faces="speaker", speaker_weights="mouths"), Path())
    assert item_of(speaker, u).content["sound"] == content(u)


def test_sound_that_is_not_there() -> None:
    lost = row(audio="a.wav", audio_hash="")
    expected = Failure("missing_file", "a.wav: did not exist when the tables were prepared")
    assert media_item(lost) == media_item(lost, pictures=True, listens=True) == expected
    assert isinstance(media_item(lost, pictures=True), Item)
    only_sound = row(media="", media_hash="", audio="a.wav", audio_hash="1" * 64)
    assert isinstance(media_item(only_sound), Item)
    assert media_item(only_sound, pictures=True) == Failure(
        "missing_file", "the utterance has no media file in the table"
    )


def test_the_length_that_batches_speech_is_that_of_the_sound() -> None:
    encoder = SpeechEncoder(SpeechParams(encoder="speech", weights="x"), Path())
    own = row(audio="a.wav#t=3,3.45", audio_hash="1" * 64)
    assert item_of(encoder, own).length == 5  # tenths of a second


def test_the_face_that_speaks_is_chosen_by_the_rows_own_sound(tmp_path: Path) -> None:
    clip(tmp_path / "u.mp4", 2.0)
    raw_folders.wav(tmp_path / "a.wav", tone(3.0, RATE, SENTENCE))
    u = row(
        start=0.5,
        end=1.5,
        media_hash=sha256(tmp_path / "u.mp4"),
        audio="a.wav#t=1.5,2",
        audio_hash=sha256(tmp_path / "a.wav"),
    )
    encoder = FaceEncoder(FaceParams(encoder="face", faces="speaker", speaker_weights="mouths"), tmp_path)
    item = item_of(encoder, u)
    span = encoder.span(item)
    samples = read_sound(span, 60.0)
    assert samples is not None
    assert len(samples) == RATE // 2
    assert hertz(samples) == {int(SENTENCE)}
    # Boxes that another stream detected in these pictures are found again.
    plain = FaceEncoder(FaceParams(encoder="face"), tmp_path)
    assert span.key == plain.span(item_of(plain, u)).key
    # The row names this sound, so the encoder does not go on without it.
    (tmp_path / "a.wav").write_bytes(b"")
    assert encoder.read(item) == Failure(
        "missing_file", "a.wav#t=1.5,2: has changed since the tables were prepared"
    )
    (tmp_path / "a.wav").unlink()
    assert encoder.read(item).status == "missing_file"
    clip(tmp_path / "mute.mp4", 2.0, audio=False)
    named = span._replace(sound=span._replace(path=tmp_path / "mute.mp4"))
    with pytest.raises(MediaError, match="no audio track"):
        read_sound(named, 60.0)
    assert read_sound(named._replace(path=tmp_path / "mute.mp4", sound=None), 60.0) is None
