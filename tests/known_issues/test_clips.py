"""Clips whose pictures were taken from the part that was there, that were taken for cut off, or for one another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from extract.encoders import build
from extract.reading.media import MediaError
from extract.reading.pictures import EvenFrames, iter_frames
from extract.reading.sound import read_audio
from pipeline.probe import probe
from tests.extract.make_clips import clip, cut, item


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
def test_few_pictures_of_a_cut_off_clip_are_not_taken_from_its_first_part(tmp_path, share):
    path = cut(clip(tmp_path / "a.mp4", 10.0, faststart=True), share)
    with pytest.raises(MediaError, match="truncated after"):
        EvenFrames(path, None, None, 6)
    assert len(EvenFrames(path, 0.0, 1.0, 6)) == 6  # that part is there


def test_a_clip_that_ends_within_its_index_is_cut_off_and_not_without_sound(tmp_path):
    path = clip(tmp_path / "a.mp4", 1.0)
    data = path.read_bytes()
    index = data.index(b"moov")
    for end in range(index + 8, len(data), 97):
        path.write_bytes(data[:end])
        for read in (read_audio, lambda *span: list(iter_frames(*span))):
            with pytest.raises(MediaError) as found:
                read(path, None, None)
            assert found.value.failure.status == "corrupt", end


@pytest.mark.parametrize("still", [0.5, 3.0])
def test_a_last_picture_may_stand_for_long(tmp_path, still):
    """As in a recording of a screen, where nothing is written while nothing changes."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=25, options={"bf": "0"})
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        packets = []
        for _ in range(20):
            packets += track.encode(
                av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            )
        packets += track.encode(None)
        packets[-1].duration = round(still / packets[-1].time_base)
        container.mux(packets)
    assert len(list(iter_frames(path, None, None))) == 20
    seconds = [at for at, _ in EvenFrames(path, None, None, 5)]
    assert seconds[-1] == pytest.approx(19 / 25, abs=0.01)


def test_a_container_that_does_not_say_its_length_is_too_long_for_one_picture_too(tmp_path):
    with pytest.raises(MediaError, match="max_seconds=2"):
        EvenFrames(clip(tmp_path / "a.mkv", 3.0), None, None, 1, max_seconds=2.0)


def test_a_reason_does_not_name_the_file_since_equal_ones_share_it(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    reasons = set()
    for name in ("a.wav", "b.wav"):
        with pytest.raises(MediaError) as found:
            read_audio(tmp_path / name, None, None)
        reasons.add(found.value.failure.reason)
    assert reasons == {"the file is empty (0 bytes)"}


def test_a_clip_that_changed_since_the_tables_were_made_is_not_kept_under_its_old_hash(tmp_path):
    path = clip(tmp_path / "a.wav", 0.5, video=False, codec="pcm_s16le")
    encoder = build("sound", {"encoder": "opensmile"}, Path("params.yaml"), tmp_path)
    asked = item(path)
    assert encoder.span(asked)[:3] == (path, None, None)
    assert isinstance(encoder.read(asked), np.ndarray)
    clip(path, 0.7, video=False, codec="pcm_s16le")
    failure = encoder.read(asked)
    assert (failure.status, failure.reason) == (
        "missing_file", "a.wav: has changed since the tables were prepared",
    )  # fmt: skip
    # Seen also where its size is the old one.
    shutil.copy(path, tmp_path / "b.wav")
    other = item(tmp_path / "b.wav")
    with (tmp_path / "b.wav").open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x01\x02")
    os.utime(tmp_path / "b.wav", ns=(0, 0))
    assert encoder.read(other).status == "missing_file"


def test_check_reads_what_extraction_reads(tmp_path):
    path = clip(tmp_path / "a.wav", 0.5, video=False, codec="pcm_s16le")
    name = "Bärbel".encode("latin-1")
    data = path.read_bytes()
    info = b"INFOIART" + len(name).to_bytes(4, "little") + name + b"\0" * (len(name) % 2)
    path.write_bytes(data + b"LIST" + len(info).to_bytes(4, "little") + info)
    assert len(read_audio(path, None, None)) == 8000
    assert probe(path).error == ""
