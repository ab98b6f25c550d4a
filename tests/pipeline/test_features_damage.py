"""Damaged caches: refused with the file and the item, or provably unharmed; never a crash, never silence."""

from __future__ import annotations

import contextlib
import pickle
import random
import shutil
from pathlib import Path

import h5py
import pytest

from pipeline.features import CacheError, FeatureCache, columns
from tests.pipeline import feature_files as files

SEED = 20
ANYWHERE = 500
PER_DATASET = 12


@pytest.fixture
def good(tmp_path, monkeypatch):
    # Several chunks in every dataset, as in a real file.
    monkeypatch.setattr(columns, "CHUNK_BYTES", 256)
    return files.small(tmp_path / "face.h5", 40)


def read_and_verify(path):
    with FeatureCache(path) as cache:
        found = files.contents(cache)
        cache.verify()
    return found


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_truncated_at_any_of_200_places_is_refused(good):
    data = good.read_bytes()
    places = random.Random(SEED).sample(range(len(data)), 200)
    for size in [0, len(data) - 1, *places]:
        good.write_bytes(data[:size])
        with pytest.raises(CacheError, match=r"face\.h5: "):
            FeatureCache(good).close()


def test_a_flipped_bit_in_any_dataset_is_refused(good):
    data, rng, names = good.read_bytes(), random.Random(SEED), []
    places = {}
    with h5py.File(good) as file:
        for name, dataset in file.items():
            found = []
            dataset.id.chunk_iter(lambda info, found=found: found.append((info.byte_offset, info.size)))
            places[name] = [8 * at + bit for at, size in found for bit in range(8 * size)]
    for name, bits in places.items():
        names.append(name)
        for bit in rng.sample(bits, PER_DATASET):
            good.write_bytes(flip(data, bit))
            with pytest.raises(CacheError, match=f"face.h5: {name}: "):
                read_and_verify(good)
    assert sorted(names) == sorted(
        [
            "utterance",
            "status",
            "error",
            "pooled",
            "frames",
            "offsets",
            "times",
            "pooled_names",
            "frames_names",
            "sums",
        ]
    )


def test_a_flipped_bit_anywhere_is_refused_or_harmless(good):
    data = good.read_bytes()
    whole, refused = read_and_verify(good), 0
    for bit in random.Random(SEED).sample(range(8 * len(data)), ANYWHERE):
        good.write_bytes(flip(data, bit))
        try:
            # Both ways: reading what training reads must not be wrong even where nobody verifies.
            found = read_and_verify(good)
        except CacheError as error:
            refused += str(error).startswith(f"{good}: ")
        else:
            assert found == whole, f"bit {bit} changed a value in silence"
    # The rest lies in space that HDF5 keeps free.
    assert refused > 0.8 * ANYWHERE


def test_zeroed_and_shifted_blocks_are_refused(good):
    data, rng, whole = good.read_bytes(), random.Random(SEED), read_and_verify(good)
    for _ in range(100):
        start, size = rng.randrange(len(data)), rng.choice([1, 16, 512, 4096])
        for damaged in (
            data[:start] + bytes(len(data[start : start + size])) + data[start + size :],
            data[:start] + data[start + size :],
        ):
            good.write_bytes(damaged)
            with contextlib.suppress(CacheError):
                assert read_and_verify(good) == whole


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"\x89HDF\r\n\x1a\n", b"PK\x03\x04 not a cache", b"utterance,p0\n"]
)
def test_files_of_another_kind_are_refused(tmp_path, content):
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(CacheError, match=r"x\.h5: file: damaged"):
        FeatureCache(path)


def test_the_error_survives_the_way_from_a_worker_process():
    error = pickle.loads(pickle.dumps(CacheError(Path("x.h5"), "pooled", "is damaged")))
    assert (str(error), error.item) == ("x.h5: pooled: is damaged", "pooled")


def test_missing_files_and_folders_say_how_to_get_them(tmp_path):
    for path in (tmp_path / "x.h5", tmp_path):
        with pytest.raises(CacheError, match="dvc pull"):
            FeatureCache(path)


def test_a_file_swapped_while_open_is_read_as_it_was(good, tmp_path):
    whole = read_and_verify(good)
    with FeatureCache(good) as cache:
        files.small(tmp_path / "new.h5", 3)
        shutil.move(tmp_path / "new.h5", good)
        assert files.contents(cache) == whole
