"""Read and write computational sequences (`.csd`), the HDF5 layout of the CMU Multimodal SDK.

    /NAME/data/ENTRY/features [T, D], /NAME/data/ENTRY/intervals [T, 2] (seconds), /NAME/metadata/KEY [1] (JSON text)

In the published sequences an entry is a video, and intervals count from its start. In exported sequences an entry is
an utterance, and intervals count from the utterance's start. The files are read as untrusted: links to other files,
external storage and claimed sizes beyond what compression allows are refused. Zadeh et al., "Multimodal Language
Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph", ACL 2018.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.disk import NotingFile, replacing
from pipeline.errors import UserError
from pipeline.features.arrays import ALWAYS_BYTES, MAX_ARRAY_BYTES, UNFOLDS
from pipeline.features.cache import FeatureCache
from pipeline.features.chunks import guard
from pipeline.features.schema import CacheError, canonical_json

# The SDK's list of keys lacks a comma after "dimension names", so it requires the joined name.
JOINED = "dimension namescomputational sequence version"
VERSION = "1.0"


def write(cache: FeatureCache, path: Path) -> None:
    """Write a cache's frames as a sequence with one entry per utterance whose status is ok.

    A frame's interval ends where the next frame begins. The last interval is as long as the one before it; a single
    frame has an interval of length 0.

    Raises:
        CacheError: if the cache is damaged.
        UserError: if it has no frames, an utterance's id contains `/`, or the file cannot be written.
    """
    meta = cache.meta
    if not cache.has_frames:
        raise UserError(
            f"{cache.path}: a .csd holds frames with times, but this file has only pooled features; extract with "
            f"extract.{meta.stream}.frames=f2, or choose another format"
        )
    with replacing(path) as part, NotingFile(part, "w+b") as raw:
        try:
            with h5py.File(raw, "w") as file:
                _fill(file.create_group(meta.stream), cache)
        finally:
            # HDF5's error on a full disk hides the reason, so raise the first failed write instead.
            raw.check()


class Sequence:
    """An open sequence.

    Attributes:
        entries: the names of its entries.

    Raises:
        CacheError: if the file is missing, damaged or not a sequence.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the path of a .csd file")
        self._most = min(MAX_ARRAY_BYTES, max(ALWAYS_BYTES, UNFOLDS * path.stat().st_size))
        with guard(path, "file"):
            self._file = h5py.File(path, "r", locking=False)
            names = list(self._file)
        if len(names) != 1:
            self.close()
            raise CacheError(path, "file", f"has {len(names)} root groups; a computational sequence has one")
        try:
            self._data = self._child(self._child(self._file, names[0]), "data")
            with guard(path, "data"):
                self.entries = list(self._data)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, entry: str) -> tuple[np.ndarray, np.ndarray]:
        """Return an entry's features [T, D] and intervals [T, 2] in seconds.

        Raises:
            CacheError: if the entry is damaged or has other shapes.
        """
        group = self._child(self._data, entry)
        features, intervals = (self._array(group, entry, name) for name in ("features", "intervals"))
        if features.ndim < 2 or intervals.shape != (len(features), 2):
            why = f"features {features.shape} and intervals {intervals.shape}; expected [T, D] and [T, 2]"
            raise CacheError(self.path, entry, why)
        return features.reshape(len(features), -1), intervals

    def _child(self, parent: Any, name: str) -> Any:
        with guard(self.path, name):
            if not isinstance(parent, h5py.Group) or not isinstance(
                parent.get(name, getlink=True), h5py.HardLink
            ):
                raise CacheError(self.path, name, "missing, or a link to another place")
            return parent[name]

    def _array(self, group: Any, entry: str, name: str) -> np.ndarray:
        found, item = self._child(group, name), f"{entry}/{name}"
        with guard(self.path, item):
            if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
                raise CacheError(self.path, item, "not an array stored in this file")
            if found.dtype.kind not in "fiu" or found.dtype.itemsize > 8:
                raise CacheError(self.path, item, f"an array of {found.dtype}; expected numbers")
            size = math.prod(found.shape) * found.dtype.itemsize
            if size > self._most:
                raise CacheError(self.path, item, f"claims {size:,} bytes, too many for the file's size")
            values: np.ndarray = found[()]
        return values


def _fill(root: h5py.Group, cache: FeatureCache) -> None:
    for i, utterance in enumerate(cache.utterances):
        frames, times = cache.frames(i).astype("<f4"), cache.times(i)
        if "/" in utterance:
            raise UserError(
                f"{cache.path}: utterance {utterance!r}: an entry of a .csd may not contain `/`; choose another "
                "format"
            )
        if len(frames):
            entry = root.create_group(f"data/{utterance}")
            entry.create_dataset("features", data=frames, track_times=False)
            entry.create_dataset("intervals", data=_intervals(times), track_times=False)
    for key, value in _metadata(cache).items():
        kept = root.create_dataset(f"metadata/{key}", (1,), h5py.string_dtype(), track_times=False)
        kept[0] = json.dumps(value)


def _intervals(times: np.ndarray) -> np.ndarray:
    steps = np.diff(times, append=times[-1:] + (times[-1:] - times[-2:-1] if len(times) > 1 else 0))
    return np.stack([times, times + steps], axis=1).astype("<f4")


def _metadata(cache: FeatureCache) -> dict[str, Any]:
    meta = cache.meta
    return {
        "root name": meta.stream,
        "computational sequence description": canonical_json(cache.about()),
        "dimension names": list(meta.frames_names),
        "computational sequence version": VERSION,
        JOINED: VERSION,
        "alignment compatible": True,
        "dataset name": meta.corpus,
        "dataset version": "",
        "creator": "Emofuse",
        "contact": "",
        "featureset bib citation": "",
        "dataset bib citation": "",
        "licence": meta.licence,
    }
