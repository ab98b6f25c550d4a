"""The demo corpus as files: the same bytes in any order, and what a decoder finds in them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.corpora import demo
from pipeline.demo import build as maker
from pipeline.demo.plan import Clip, clips
from pipeline.demo.voice import RATE
from pipeline.errors import UserError
from pipeline.params import CorpusParams

PLAN = clips()


def some(**wanted: object) -> Clip:
    """The shortest sentence among the clips that are as `wanted`."""
    return min(
        (c for c in PLAN if all(getattr(c, k) == v for k, v in wanted.items())), key=lambda c: len(c.text)
    )


HANDFUL = {
    "angry": some(emotion="anger", still_face=False, flat_voice=False, picture="face", sound="speech"),
    "other portrait": some(portrait="hopper", picture="face", sound="speech", emotion="excitement"),
    "room": some(picture="room"),
    "noise": some(sound="noise"),
    "silence": some(sound="silence"),
    "none": some(sound="none"),
}


def corpus_params(root: Path) -> CorpusParams:
    labels = ["happiness", "sadness", "neutral", "anger", "excitement", "frustration"]
    return CorpusParams(name="demo", build=["demo"], watch=str(root), root=str(root), labels=labels)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Frames [n, 320, 320, 3] and samples [m], or None where there is no audio track."""
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].average_rate == 25
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return frames, None
        track = container.streams.audio[0]
        assert (track.codec_context.name, track.codec_context.layout.name) == ("aac", "mono")
        return frames, np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A handful of clips, one of each kind, made in this process."""
    root = tmp_path_factory.mktemp("demo")
    (root / "media").mkdir()
    for clip in HANDFUL.values():
        maker.record(root, clip)
    return root


def test_the_same_bytes_in_another_order_and_process(made, tmp_path):
    (tmp_path / "media").mkdir()
    code = (
        "import sys; from pathlib import Path; from pipeline.demo import build as demo\n"
        "plan = {c.utterance: c for c in demo.clips()}\n"
        "for name in sys.argv[2:]: demo.record(Path(sys.argv[1]), plan[name])"
    )
    names = [clip.utterance for clip in reversed(HANDFUL.values())]
    subprocess.run([sys.executable, "-c", code, str(tmp_path), *names], check=True)
    assert digests(tmp_path) == digests(made)


@pytest.mark.parametrize("kind", HANDFUL)
def test_what_a_decoder_finds(made, kind):
    clip = HANDFUL[kind]
    frames, sound = decoded(made / maker.media(clip))
    assert frames.shape[1:] == (320, 320, 3)
    assert 1 <= len(frames) / 25 <= 5
    if clip.sound == "none":
        assert sound is None
        return
    assert len(sound) / RATE == pytest.approx(len(frames) / 25, abs=0.1)
    loudest = float(np.abs(sound).max())
    assert loudest < 1e-4 if clip.sound == "silence" else loudest > 0.05


def test_the_mouth_moves_and_the_room_is_empty(made):
    """The lower face changes far more between loud and quiet frames than the grain does in a room."""
    face, _ = decoded(made / maker.media(HANDFUL["angry"]))
    room, _ = decoded(made / maker.media(HANDFUL["room"]))
    around_the_mouth = np.s_[:, 185:235, 125:195]
    assert face[around_the_mouth].std(0).mean() > 3 * room[around_the_mouth].std(0).mean()


def test_build_and_read(tmp_path, monkeypatch):
    """The whole of a small corpus, by two processes and by one, over what an earlier run left."""
    few = [c for c in clips(1) if c.turn < 2]
    monkeypatch.setattr(maker, "clips", lambda dialogues: few)
    roots = {"1": tmp_path / "one", "2": tmp_path / "two"}
    (roots["1"] / "media").mkdir(parents=True)
    (roots["1"] / "media/stale.mp4").touch()
    for workers, root in roots.items():
        monkeypatch.setenv("EMOFUSE_WORKERS", workers)
        maker.build(root, 1)
    assert digests(roots["1"]) == digests(roots["2"])

    utterances, labels = demo.read(roots["1"], corpus_params(roots["1"]))
    assert list(utterances["utterance"]) == list(labels["utterance"]) == [c.utterance for c in few]
    assert list(utterances["turn"]) == [0, 1] * 3
    assert list(utterances["text"]) == [c.text for c in few]
    assert set(utterances["session"]) == {""}
    assert utterances[["start", "end"]].isna().all(axis=None)
    assert list(labels["emotion"]) == [c.emotion for c in few]
    assert sorted(set(labels["split"])) == ["test", "train", "val"]
    assert all((roots["1"] / name).is_file() for name in utterances["media"])


@pytest.mark.parametrize("workers", ["0", "-1", "many", "1.5"])
def test_bad_worker_count(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("EMOFUSE_WORKERS", workers)
    with pytest.raises(UserError, match=f"EMOFUSE_WORKERS.*{workers}"):
        maker.build(tmp_path / "demo", 1)
    assert not (tmp_path / "demo").exists()


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"python -m pipeline\.demo"):
        demo.read(tmp_path, corpus_params(tmp_path))


def test_reading_a_bad_turn(tmp_path):
    header = ",".join(demo.COLUMNS)
    row = "d01_00,d01,first,Kim,,Hello there.,media/d01_00.mp4,train,neutral"
    (tmp_path / demo.ANNOTATIONS).write_text(f"{header}\n{row}\n")
    with pytest.raises(UserError, match=r"annotations\.csv:2: turn='first'"):
        demo.read(tmp_path, corpus_params(tmp_path))
