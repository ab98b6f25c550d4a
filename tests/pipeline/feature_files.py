"""Small caches for the tests of pipeline.features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.features import FeatureCache, Meta, Row, write
from pipeline.features.chunks import chunk_sum
from pipeline.features.schema import SUM


def meta(**changes: Any) -> Meta:
    values: dict[str, Any] = {
        "stream": "face",
        "modality": "visual",
        "corpus": "demo",
        "licence": "CC BY 4.0, own recordings",
        "encoder": {"encoder": "face", "every": 5, "rate": 1e-4},
        "weights": {"name": "vggface2", "revision": "1", "sha256": "ab" * 32},
        "weights_saw": None,
        "packages": {"numpy": "2.0", "torch": "2.9"},
        "code": "c" * 64,
        "fingerprint": "f" * 64,
        "pooled_dim": 5,
        "frames_dim": 3,
        "frames": "f2",
        "pooled_names": ("a", "b", "c", "d", "é"),
        "frames_names": ("x", "y", "z"),
    }
    return Meta(**{**values, **changes})


def plain(**changes: Any) -> Meta:
    """Pooled values alone."""
    return meta(**{"frames": "none", "frames_dim": 0, "pooled_names": (), "frames_names": (), **changes})


def names(count: int) -> list[str]:
    return [f"dialog ü{i // 10}_{i % 10}" for i in range(count)]


def rows(meta: Meta, count: int, seed: int = 0) -> list[Row]:
    """Every fifth utterance has no feature; the second has a remark."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        if i % 5 == 3:
            made.append(Row(f"key{i}", "no_face", f"no face in any of {i} frames – größer?"))
            continue
        length = 1 + i % 4
        frames = rng.normal(size=(length, meta.frames_dim)).astype("f4") if meta.frames_dim else None
        times = np.arange(length, dtype="f4") / 25 if meta.frames_dim else None
        remark = "cut to 512 tokens" if i == 1 else ""
        made.append(
            Row(f"key{i}", "ok", remark, rng.normal(size=meta.pooled_dim).astype("f4"), frames, times)
        )
    return made


def small(path: Path, count: int = 20, **changes: Any) -> Path:
    about = meta(**changes)
    write(path, about, names(count), rows(about, count))
    return path


def contents(cache: FeatureCache) -> tuple[Any, ...]:
    """All that a cache says, for comparing two."""
    frames = (
        [(cache.frames(i).tobytes(), cache.times(i).tobytes()) for i in range(len(cache))]
        if cache.has_frames
        else []
    )
    return (
        cache.meta, cache.rows_hash, cache.digest, cache.utterances, cache.status.tobytes(), cache.errors,
        cache.pooled().tobytes(), frames,
    )  # fmt: skip


def edit(path: Path, change: Callable[[h5py.File], None]) -> Path:
    """Change a cache's inside with a valid HDF5 write, and make new sums, as an attacker would."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        before = file["sums"][:]
        change(file)
        if np.array_equal(file.get("sums"), before) and all(_whole(file, name) for name in file):
            put(file, "sums", np.array([s for name in sorted(file) for s in sums(file, name)], SUM))
    return path


def _whole(file: h5py.File, name: str) -> bool:
    """Whether a dataset is so as the writer makes them, and can have sums."""
    item = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    return isinstance(item, h5py.Dataset) and item.chunks is not None and item.id.get_num_chunks() > 0


def sums(file: h5py.File, name: str) -> list[int]:
    """One of each chunk, none of the sums themselves."""
    values, rows = file[name][...], file[name].chunks[0]
    return [chunk_sum(values[i : i + rows]) for i in range(0, len(values), rows)] if name != "sums" else []


def put(file: h5py.File, name: str, values: np.ndarray, **options: Any) -> None:
    """Replace a dataset by one that looks as the writer's would."""
    if name in file:
        del file[name]
    options = {"chunks": values.shape, "maxshape": (None, *values.shape[1:]), "fletcher32": True, **options}
    file.create_dataset(name, data=values, track_times=False, **options)


def put_attribute(file: h5py.File, name: str, data: bytes) -> None:
    file.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("utf-8", len(data)))
