"""What the format owes its readers: no damage that fletcher32 lets through, no space for nothing, old files read."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.features import CacheError, FeatureCache, Row, columns, write
from pipeline.features.report import diff
from tests.pipeline import feature_files as files

FIRST = Path(__file__).with_name("emofuse-features-1.h5")
DATASETS = [
    "utterance", "status", "error", "pooled", "frames", "offsets", "times", "pooled_names", "frames_names", "sums",
]  # fmt: skip


@pytest.fixture
def good(tmp_path, monkeypatch) -> Path:
    # Several chunks in every dataset, as in a real file.
    monkeypatch.setattr(columns, "CHUNK_BYTES", 256)
    return files.small(tmp_path / "face.h5", 200)


def read(path: Path) -> tuple:
    """All values, as training reads them."""
    with FeatureCache(path) as cache:
        return files.contents(cache)


def chunks(path: Path, name: str) -> list[tuple[int, int]]:
    """Where in the file the chunks of a dataset lie: offset and size."""
    found: list[tuple[int, int]] = []
    with h5py.File(path) as file:
        file[name].id.chunk_iter(lambda info: found.append((info.byte_offset, info.size)))
    return found


@pytest.mark.parametrize("name", DATASETS)
def test_a_chunk_of_zeros_with_a_checksum_of_zero_is_not_read(good, name):
    data, places = good.read_bytes(), chunks(good, name)
    for at, size in places:
        good.write_bytes(data[:at] + bytes(size) + data[at + size :])
        with h5py.File(good) as file:
            file[name][...]  # HDF5 sees nothing wrong with it
        with pytest.raises(CacheError, match="do not match their sum"):
            read(good)


@pytest.mark.parametrize("name", ["pooled", "frames", "times", "error", "utterance"])
def test_a_chunk_in_another_ones_place_is_not_read(good, name):
    data = bytearray(good.read_bytes())
    (a, size), (b, _), *_ = chunks(good, name)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    good.write_bytes(data)
    with pytest.raises(CacheError, match=f"face.h5: {name}: damaged: rows 0 to"):
        read(good)


def test_frames_are_the_same_in_any_order(good):
    order = [*range(200), *range(199, -1, -1)]
    random.Random(3).shuffle(order)
    rows = files.rows(files.meta(), 200)
    with FeatureCache(good) as cache:
        for i in order:
            frames = rows[i].frames if rows[i].frames is not None else np.zeros((0, 3))
            assert np.array_equal(cache.frames(i), frames.astype("f2"))


def test_what_was_read_does_not_change_with_the_next_read(good):
    with FeatureCache(good) as cache:
        kept = [cache.frames(i) for i in range(200)]
        assert all(np.array_equal(kept[i], cache.frames(i)) for i in range(200))


def test_rows_without_features_take_no_space(tmp_path):
    count, one = 13_691, np.ones(6373, "f4")
    rows = [Row("", "missing_file", "no such file")] * (count - 1)
    path, narrow = tmp_path / "wide.h5", tmp_path / "narrow.h5"
    write(path, files.plain(pooled_dim=6373), files.names(count), [*rows, Row("k", "ok", "", one)])
    write(narrow, files.plain(pooled_dim=1), files.names(count), [*rows, Row("k", "ok", "", one[:1])])
    assert path.stat().st_size - narrow.stat().st_size < 2 * one.nbytes
    assert path.stat().st_size < 1 << 20
    with FeatureCache(path) as cache:
        pooled = cache.pooled()
        assert pooled.shape == (count, 6373)
        assert np.isnan(pooled[:-1]).all()
        assert np.array_equal(pooled[-1], one)


def test_a_file_of_missing_rows_alone_is_sound(tmp_path):
    write(tmp_path / "x.h5", files.plain(), ["a", "b"], [Row("", "failed", "so")] * 2)
    with FeatureCache(tmp_path / "x.h5") as cache:
        cache.verify()
        assert np.isnan(cache.pooled()).all()


def test_a_file_of_the_first_format_says_the_same(tmp_path):
    new = files.small(tmp_path / "new.h5")
    with FeatureCache(FIRST) as a, FeatureCache(new) as b:
        assert diff(a, b) == ""
        assert (a.errors, a.rows_hash) == (b.errors, b.rows_hash)
        assert a.pooled().tobytes() == b.pooled().tobytes()
        assert [a.frames(i).tobytes() for i in range(20)] == [b.frames(i).tobytes() for i in range(20)]


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "sums"])
def test_a_file_of_the_first_format_is_verified_when_opened(tmp_path, name):
    path = Path(shutil.copy(FIRST, tmp_path / "face.h5"))
    data = path.read_bytes()
    for at, size in chunks(path, name):
        if any(data[at : at + size]):
            path.write_bytes(data[:at] + bytes(size) + data[at + size :])
            with pytest.raises(CacheError, match=r"face\.h5: "):
                FeatureCache(path)
