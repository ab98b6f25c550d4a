"""Media that browsers cannot play: they were a black box on the page, without a word."""

from __future__ import annotations

import base64
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from pipeline.errors import UserError
from pipeline.pages import convert, playable
from pipeline.pages.playable import is_playable, link, shown
from pipeline.tables.schema import Utterance
from tests.evaluate.test_report_browser import browser
from tests.evaluate.test_report_browser import pytestmark as in_a_browser
from tests.extract.make_clips import clip, tone

__all__ = ["browser"]  # the fixture
SECONDS = 3


def film(
    path: Path, video: str, audio: str = "aac", size: tuple[int, int] = (64, 48), cover: bool = False
) -> Path:
    """Pictures at 25 per second whose brightness is 60 per second, and a tone that begins after one second."""
    sound = np.concatenate([np.zeros(16000, np.float32), tone(SECONDS - 1)])
    with av.open(str(path), "w") as output:
        if video:
            pictures: Any = output.add_stream(video, rate=25)
            pictures.width, pictures.height, pictures.pix_fmt = *size, "yuvj420p" if cover else "yuv420p"
            if cover:
                pictures.disposition = Disposition.attached_pic
        track: Any = output.add_stream(audio, rate=16000, layout="mono")
        for k in range((1 if cover else SECONDS * 25) if video else 0):
            picture = np.full((size[1], size[0], 3), min(255, round(60 * k / 25)), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            output.mux(pictures.encode(frame))
        if video:
            output.mux(pictures.encode(None))
        for at in range(0, len(sound), 1024):
            part = sound[None, at : at + 1024]
            integers = audio.startswith("pcm")
            piece = av.AudioFrame.from_ndarray(
                (part * 32767).astype(np.int16) if integers else part, "s16" if integers else "fltp", "mono"
            )
            piece.sample_rate, piece.pts = 16000, at
            output.mux(track.encode(piece))
        output.mux(track.encode(None))
    return path


PLAY = """
const [source, done] = arguments, video = document.querySelector("video");
video.onerror = () => done(video.error.message);
video.onseeked = () => done([video.videoWidth, video.duration, video.currentTime]);
video.onloadeddata = () => { video.currentTime = 2 };
video.src = source;
"""
UNPLAYABLE = {"divx.avi": ("mpeg4", "pcm_s16le"), "phone.mov": ("libx265", "aac"), "part2.mp4": ("mpeg4", "aac"),
              "call.mkv": ("libx264", "aac")}  # fmt: skip


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_a_copy_plays_the_same_at_the_same_time(tmp_path, name):
    path = film(tmp_path / name, *UNPLAYABLE[name])
    assert not is_playable(path)
    seen = shown([], [name], tmp_path, tmp_path / "out", as_stills=False)
    copy = seen.files[name]
    assert copy.parent == tmp_path / "out/playable"
    assert copy.name.startswith(path.stem)
    assert is_playable(copy)
    with av.open(str(copy)) as container:
        brightness = {f.time: f.to_ndarray(format="rgb24").mean() for f in container.decode(video=0)}
    assert len(brightness) == SECONDS * 25
    assert all(abs(value - 60 * at) < 6 for at, value in brightness.items())
    with av.open(str(copy)) as container:
        frames = list(container.decode(audio=0))
        samples = np.concatenate([f.to_ndarray().mean(0) for f in frames])
        onset = float(frames[0].time) + int(np.argmax(np.abs(samples) > 0.1)) / 48000
    assert onset == pytest.approx(1.0, abs=0.05)


def test_a_copy_is_made_once_and_whole(tmp_path, monkeypatch):
    path = film(tmp_path / "divx.avi", "mpeg4", "pcm_s16le")
    first = playable.copied("divx.avi", path, tmp_path / "out")
    monkeypatch.setattr(playable, "convert", lambda *_: pytest.fail("made twice"))
    assert playable.copied("divx.avi", path, tmp_path / "out") == first
    path.write_bytes(path.read_bytes() + b"x")

    def killed(_: Path, part: Path, __: str) -> None:
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(playable, "convert", killed)
    with pytest.raises(KeyboardInterrupt):
        playable.copied("divx.avi", path, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [first.name]


def test_what_browsers_play_is_not_copied(tmp_path):
    names = ["talk.mp4", "call.wav", "song.m4a"]
    clip(tmp_path / "talk.mp4", 1.0)
    clip(tmp_path / "call.wav", 1.0, video=False, codec="pcm_s16le")
    film(tmp_path / "song.m4a", "", "aac")
    seen = shown([], names, tmp_path, tmp_path / "out", as_stills=False)
    assert seen.files == {name: tmp_path / name for name in names}
    assert not (tmp_path / "out").exists()
    assert link(seen.files["talk.mp4"], tmp_path / "out") == "../talk.mp4"


def test_stills_instead_of_copies(tmp_path):
    film(tmp_path / "divx.avi", "mpeg4", "pcm_s16le", size=(480, 360))
    said = [Utterance(f"u{t}", "d", t, "", "", "", "divx.avi", float(t), t + 1.0, "") for t in range(SECONDS)]
    seen = shown(said, ["divx.avi"], tmp_path, tmp_path / "out", as_stills=True)
    assert seen.files == {}
    assert not (tmp_path / "out").exists()
    for at, utterance in enumerate(said):
        data = base64.b64decode(seen.stills[utterance.utterance].partition("base64,")[2])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (180, 240, 3)
        assert abs(picture.mean() - 60 * at) < 6


def test_a_damaged_file_is_named(tmp_path):
    path = film(tmp_path / "divx.avi", "mpeg4", "pcm_s16le")
    path.write_bytes(path.read_bytes()[:200] + b"\0" * 5000)
    (tmp_path / "text.avi").write_text("not a film")
    seen = shown([], ["divx.avi", "text.avi"], tmp_path, tmp_path / "out", as_stills=False)
    assert [note.partition(": browsers cannot play it, and no copy was made: ")[0] for note in seen.notes] == [
        "divx.avi", "text.avi",
    ]  # fmt: skip
    assert not list((tmp_path / "out").rglob("*.mp4"))


def test_a_full_disk_is_one_message(tmp_path):
    path = film(tmp_path / "divx.avi", "mpeg4", "pcm_s16le")
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="not written"):
        shown([], [path.name], tmp_path, tmp_path / "out", as_stills=False)


@pytest.mark.parametrize("angle", [90, -90, 180, 0])
def test_a_turned_picture_is_shown_upright(angle):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24] = 255
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(picture, -angle // 90)), "rgb24")

    class Turned:
        rotation, width, height, format, time_base = angle, frame.width, frame.height, frame.format, None

    graph = convert._graph(Turned(), Fraction(1), 1280, 720, "rgb24")
    graph.push(frame)
    upright = graph.pull().to_ndarray()
    assert upright.shape == picture.shape
    assert upright[:20].min() > 200
    assert upright[28:].max() < 50


@in_a_browser[0]
@in_a_browser[1]
def test_chromium_plays_the_copies(browser, tmp_path):
    names = list(UNPLAYABLE)
    for name in names:
        film(tmp_path / name, *UNPLAYABLE[name])
    seen = shown([], names, tmp_path, tmp_path, as_stills=False)
    (tmp_path / "page.html").write_text("<!doctype html><title>t</title><video></video>")
    browser.get((tmp_path / "page.html").as_uri())
    for name in names:
        state = browser.execute_async_script(
            PLAY,
            link(seen.files[name], tmp_path),
        )
        assert state == [64, pytest.approx(SECONDS, abs=0.1), 2], name
