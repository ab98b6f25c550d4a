"""Feature caches to and from the formats of other tools: parquet and computational sequences (.csd)."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.features import FeatureCache, csd
from pipeline.features.__main__ import main
from pipeline.features.schema import OK, STATUSES, CacheError
from pipeline.tables.schema import UTTERANCE_COLUMNS
from tests.pipeline import feature_files as files

# The keys that the CMU Multimodal SDK requires; it joins two of them by mistake.
REQUIRED = {
    "root name", "computational sequence description", "dimension namescomputational sequence version",
    "alignment compatible", "dataset name", "dataset version", "creator", "contact", "featureset bib citation",
    "dataset bib citation",
}  # fmt: skip


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["features", *map(str, arguments)])
    main()


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    frame = pd.DataFrame(rows, columns=list(UTTERANCE_COLUMNS))
    frame["turn"] = frame.groupby("dialogue").cumcount()
    frame.to_csv(path, index=False, lineterminator="\n")


def imported(tmp_path: Path, monkeypatch, source: Path, *more: str) -> FeatureCache:
    monkeypatch.chdir(tmp_path)
    about = ("--stream", "back", "--modality", "visual", "--corpus", "c", "--licence", "l", "--encoder", "e")
    run(monkeypatch, "import", source, *about, "--utterances", "u.csv", "--out", "back.h5", *more)
    return FeatureCache(tmp_path / "back.h5")


@pytest.mark.parametrize("frames", ["none", "f2", "f4"])
def test_parquet_holds_what_the_cache_holds(tmp_path, monkeypatch, frames):
    about = (
        {"frames": frames} if frames != "none" else {"frames": "none", "frames_dim": 0, "frames_names": ()}
    )
    path = files.small(tmp_path / "face.h5", count=600, **about)
    run(monkeypatch, "export", path, "--to", "parquet")
    table = pq.read_table(tmp_path / "face.parquet")
    read = pd.read_parquet(tmp_path / "face.parquet")
    with FeatureCache(path) as cache:
        assert json.loads(table.schema.metadata[b"about"]) == json.loads(json.dumps(cache.about()))
        assert list(read["utterance"]) == cache.utterances
        assert list(read["status"]) == [STATUSES[code] for code in cache.status]
        assert list(read["error"]) == cache.errors
        pooled = cache.pooled()
        for i, row in read.iterrows():
            if cache.status[i] == OK:
                assert row["pooled"].tobytes() == pooled[i].tobytes()
            else:
                assert table["pooled"][i].as_py() is None
            if frames != "none":
                kept = (
                    np.stack(row["frames"]) if len(row["frames"]) else np.zeros((0, 3), cache.frames(i).dtype)
                )
                assert kept.tobytes() == cache.frames(i).tobytes()
                assert row["times"].tobytes() == cache.times(i).tobytes()
    assert set(read.columns) == {"utterance", "status", "error", "pooled"} | (
        {"frames", "times"} if frames != "none" else set()
    )


def test_a_csd_has_the_form_that_the_sdk_requires(tmp_path, monkeypatch):
    path = files.small(tmp_path / "face.h5")
    run(monkeypatch, "export", path, "--to", "csd")
    with h5py.File(tmp_path / "face.csd") as file, FeatureCache(path) as cache:
        assert list(file) == ["face"]
        metadata = {key: json.loads(value[0]) for key, value in file["face/metadata"].items()}
        assert set(metadata) >= REQUIRED
        assert metadata["root name"] == "face"
        assert metadata["dimension names"] == ["x", "y", "z"]
        kept = [u for u, code in zip(cache.utterances, cache.status, strict=True) if code == OK]
        assert sorted(file["face/data"]) == sorted(kept)
        for name, entry in file["face/data"].items():
            frames = cache.frames(cache.utterances.index(name))
            assert entry["features"].shape == frames.shape
            assert entry["intervals"].shape == (len(frames), 2)
        intervals = file["face/data"][cache.utterances[2]]["intervals"][:]
        np.testing.assert_allclose(intervals, [[0, 0.04], [0.04, 0.08], [0.08, 0.12]], atol=1e-6)


@pytest.mark.parametrize("frames", ["f2", "f4"])
def test_a_csd_comes_back_equal(tmp_path, monkeypatch, frames):
    path = files.small(tmp_path / "face.h5", frames=frames)
    with FeatureCache(path) as cache:
        rows = [{"utterance": u, "dialogue": u.split("_")[0]} for u in cache.utterances]
        write_table(tmp_path / "u.csv", rows)
        run(monkeypatch, "export", path, "--to", "csd")
        with imported(tmp_path, monkeypatch, tmp_path / "face.csd", "--frames", frames, "--partial") as back:
            assert back.counts() == {"ok": 16, "missing_file": 4}
            for i in range(len(cache)):
                assert back.frames(i).tobytes() == cache.frames(i).tobytes()
                assert back.times(i).tobytes() == cache.times(i).tobytes()


def test_without_frames_there_is_no_csd(tmp_path, monkeypatch):
    path = files.small(tmp_path / "x.h5", frames="none", frames_dim=0, frames_names=())
    with pytest.raises(UserError, match=r"has only pooled features; extract with extract.face.frames=f2"):
        run(monkeypatch, "export", path, "--to", "csd")
    assert not (tmp_path / "x.csd").exists()


def sequence(path: Path, entries: dict[str, tuple[object, object]]) -> Path:
    """A published sequence: compressed, and counted from the start of the video."""
    with h5py.File(path, "w") as file:
        for name, (features, intervals) in entries.items():
            for key, value in (("features", features), ("intervals", intervals)):
                file.create_dataset(f"COVAREP/data/{name}/{key}", data=value, compression="gzip")
    return path


def test_the_frames_of_a_video_go_to_the_utterances_in_which_they_lie(tmp_path, monkeypatch):
    intervals = np.array([[i / 10, (i + 1) / 10] for i in range(20)])
    features = np.arange(40.0).reshape(20, 2) + 1
    path = sequence(tmp_path / "x.csd", {"vid": (features, intervals)})
    rows = [
        {"utterance": "a", "dialogue": "d", "media": "Raw/vid.mp4", "start": 0.0, "end": 0.5},
        {"utterance": "b", "dialogue": "d", "media": "Raw/vid.mp4", "start": 0.52, "end": 1.01},
        {"utterance": "c", "dialogue": "d", "media": "Raw/vid.mp4", "start": 5.0, "end": 6.0},
    ]
    write_table(tmp_path / "u.csv", rows)
    with imported(tmp_path, monkeypatch, path, "--frames", "f4") as back:
        assert back.counts() == {"ok": 2, "too_short": 1}
        np.testing.assert_array_equal(back.frames(0), features[:5])
        np.testing.assert_array_equal(back.frames(1), features[5:10])
        np.testing.assert_allclose(back.times(1), [0, 0.08, 0.18, 0.28, 0.38], atol=1e-6)


def _linked(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["COVAREP/data/vid/features"] = h5py.ExternalLink("/etc/passwd", "/x")


def _bomb(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("COVAREP/data/vid/features", shape=(1 << 40, 2), chunks=(1 << 10, 2), dtype="f4")


def _external(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset(
            "COVAREP/data/vid/features", shape=(2, 2), dtype="f4", external=[("/etc/passwd", 0, 16)]
        )


def _text(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("COVAREP/data/vid/features", data=np.array([[b"a"], [b"b"]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_linked, "a link to another place"),
        (_bomb, "too many for the file's size"),
        (_external, "not an array stored in this file"),
        (_text, "expected numbers"),
        (lambda path: None, "missing, or a link"),
    ],
)
def test_hostile_sequences(tmp_path, change, message):
    path = sequence(tmp_path / "x.csd", {"vid": (np.ones((2, 2)), np.ones((2, 2)))})
    with h5py.File(path, "a") as file:
        del file["COVAREP/data/vid/features"]
    change(path)
    with closing(csd.Sequence(path)) as opened, pytest.raises(CacheError, match=message):
        opened.read("vid")


def test_a_file_that_is_no_sequence(tmp_path):
    path = tmp_path / "x.csd"
    path.write_bytes(b"nothing")
    with pytest.raises(CacheError, match=r"x.csd: file: damaged"):
        csd.Sequence(path)
    files.small(path)
    with pytest.raises(CacheError, match="root groups; a computational sequence has one"):
        csd.Sequence(path)
