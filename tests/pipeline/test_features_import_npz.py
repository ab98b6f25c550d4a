"""One `.npz` with an array per utterance → a cache."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from tests.pipeline.test_features_import import IDS, imported, npy, project

__all__ = ["project"]  # a fixture

VECTORS: dict[str, Any] = {utterance: np.full(4, i + 1.0) for i, utterance in enumerate(IDS)}


def test_vectors_named_by_utterance(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("x.npz", **dict(reversed(VECTORS.items())))
    with imported(monkeypatch, "x.npz") as cache:
        assert cache.utterances == IDS
        assert np.array_equal(cache.pooled(), np.arange(1, 10, dtype="f4")[:, None].repeat(4, 1))
        first = cache.rows_hash
    np.savez_compressed("x.npz", **{**VECTORS, "d1_1": np.full(4, 7.0)})
    with imported(monkeypatch, "x.npz") as cache:
        assert cache.pooled()[4].tolist() == [7.0] * 4
        assert cache.rows_hash != first


def test_frames_named_by_utterance(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: dict[str, Any] = {
        utterance: np.arange(4.0 * (i + 1)).reshape(-1, 4) + 1 for i, utterance in enumerate(IDS)
    }
    np.savez("x.npz", **frames)
    with imported(monkeypatch, "x.npz", "--frames", "f4", "--rate", 50) as cache:
        for i, expected in enumerate(frames.values()):
            assert np.array_equal(cache.frames(i), expected)
            assert np.allclose(cache.pooled()[i], expected.mean(0))
        assert np.allclose(cache.times(2), [0, 0.02, 0.04])
    with imported(monkeypatch, "x.npz") as cache:
        assert not cache.has_frames


def test_missing_and_unknown_names_are_listed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named: dict[str, Any] = {
        ("stranger" if utterance == "d2_2" else utterance): v for utterance, v in VECTORS.items()
    }
    np.savez("x.npz", **named)
    with pytest.raises(
        UserError, match=r"(?s)1 of 9 .*: d2_2\n1 in x.npz .*: stranger\n.*--names.*--partial"
    ):
        imported(monkeypatch, "x.npz")
    with imported(monkeypatch, "x.npz", "--partial") as cache:
        assert cache.counts() == {"ok": 8, "missing_file": 1}
    assert "stranger" in capsys.readouterr().out
    Path("names.csv").write_text(
        "file,utterance\n" + "".join(f"{u if u != 'd2_2' else 'stranger'},{u}\n" for u in IDS),
        encoding="utf-8",
    )
    with imported(monkeypatch, "x.npz", "--names", "names.csv") as cache:
        assert cache.counts() == {"ok": 9}


def test_a_matrix_without_its_ids_is_not_taken_for_an_utterance(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("x.npz", pooled=np.ones((9, 4)), clip=IDS)
    with pytest.raises(UserError, match=r"x.npz: no array 'utterance'; there are pooled, clip"):
        imported(monkeypatch, "x.npz")


def test_an_unusable_array_is_a_status_with_a_reason(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad: dict[str, Any] = {
        "d0_0": np.zeros(4),
        "d0_1": np.array([1, np.nan, 1, 1]),
        "d0_2": np.ones((2, 2, 2)),
    }
    bad["d1_0"] = np.array([{}])
    np.savez("x.npz", **{**VECTORS, **bad})
    with imported(monkeypatch, "x.npz") as cache:
        assert cache.counts() == {"ok": 5, "corrupt": 2, "failed": 2}
        assert "Python objects" in cache.errors[3]


def test_an_array_there_twice_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("x.npz", **VECTORS)
    with (
        zipfile.ZipFile("x.npz", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("d1_1.npy", npy(np.ones(4)))
    with pytest.raises(UserError, match=r"x.npz: duplicate arrays: d1_1; keep one for each utterance"):
        imported(monkeypatch, "x.npz")


def test_a_zip_of_a_later_version_is_one_message(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("x.npz", **VECTORS)
    data = bytearray(Path("x.npz").read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 82  # the version of zip that the file needs
    Path("x.npz").write_bytes(data)
    with pytest.raises(UserError, match=r"x.npz: no readable \.npz: zip file version 8.2"):
        imported(monkeypatch, "x.npz")
