"""The file formats that `benchmarks.cache` compares."""

from __future__ import annotations

import itertools
import os
import pickle
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import torch
from typing_extensions import override

from pipeline.features import FeatureCache, Meta, Row, write

RATE = 50  # frames a second
Arrays = dict[str, np.ndarray]


class Format(ABC):
    """A file format for one stream: utterance id → pooled features `[P]` or frames `[T, D]`.

    Attributes:
        name: the format's name in the table.
        folder: the folder for the files.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def write(self, stream: str, arrays: Arrays) -> Path:
        """Write one stream and return its path."""

    @abstractmethod
    def pooled(self, path: Path) -> torch.Tensor:
        """Return the pooled features `[N, P]`."""

    @abstractmethod
    def frames(self, path: Path) -> list[torch.Tensor]:
        """Return the frames, N tensors `[T, D]`."""


class Cache(Format):
    """The project's feature cache."""

    name = "feature cache"

    @override
    def write(self, stream: str, arrays: Arrays) -> Path:
        path, first = self.folder / f"{stream}.h5", next(iter(arrays.values()))
        frames = first.ndim == 2
        dims = (1, first.shape[1], "f2") if frames else (len(first), 0, "none")
        meta = Meta(stream, "audio", "benchmark", "", {}, {}, None, {}, "", "", *dims)
        one = np.zeros(1, "f4")
        if frames:
            rows = (Row("k", "ok", "", one, a, np.arange(len(a), dtype="f4") / RATE) for a in arrays.values())
        else:
            rows = (Row("k", "ok", "", a) for a in arrays.values())
        write(path, meta, list(arrays), rows)
        return path

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        with FeatureCache(path) as cache:
            return torch.from_numpy(cache.pooled())

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        with FeatureCache(path) as cache:
            return [torch.from_numpy(cache.frames(i)) for i in range(len(cache))]


class Unchecked(Cache):
    """The feature cache without comparing checksums. The difference is the cost of the comparison."""

    name = "feature cache, no sums"

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        with self.open(path) as cache:
            return torch.from_numpy(cache.pooled())

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        with self.open(path) as cache:
            return [torch.from_numpy(cache.frames(i)) for i in range(len(cache))]

    def open(self, path: Path) -> FeatureCache:
        """Open a cache that does not compare checksums."""
        cache = FeatureCache(path)
        for dataset in cache._structure.datasets.values():
            dataset.sums = None
        return cache


class Fletcher32(Cache):
    """The feature cache read by h5py, which compares only HDF5's own checksums."""

    name = "the same by h5py"

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        with h5py.File(path) as file:
            return torch.from_numpy(file["pooled"][...])

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        with h5py.File(path) as file:
            frames, offsets = file["frames"], file["offsets"][...].tolist()
            return [torch.from_numpy(frames[a:b]) for a, b in itertools.pairwise(offsets)]


class Raw(Format):
    """Bytes without names, shapes or checks, which give the lower limit of the time. Shapes are kept in memory."""

    name = "raw bytes"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.shapes: dict[Path, list[tuple[int, ...]]] = {}

    @override
    def write(self, stream: str, arrays: Arrays) -> Path:
        path = self.folder / f"{stream}.raw"
        self.shapes[path] = [a.shape for a in arrays.values()]
        with path.open("wb") as file:
            for array in arrays.values():
                file.write(array.data)
            _sync(file)
        return path

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        shapes = self.shapes[path]
        return torch.from_numpy(np.fromfile(path, "f4").reshape(len(shapes), *shapes[0]))

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        with path.open("rb") as file:
            return [
                torch.from_numpy(np.fromfile(file, "f2", t * d).reshape(t, d)) for t, d in self.shapes[path]
            ]


class Pickle(Format):
    """A pickle of one matrix, or of a list of matrices."""

    name = "pickle of a matrix"

    @override
    def write(self, stream: str, arrays: Arrays) -> Path:
        path, values = self.folder / f"{stream}.matrix.pkl", list(arrays.values())
        return self.dump(path, (list(arrays), values if values[0].ndim == 2 else np.stack(values)))

    def dump(self, path: Path, what: object) -> Path:
        """Pickle an object and return its path."""
        with path.open("wb") as file:
            pickle.dump(what, file, protocol=pickle.HIGHEST_PROTOCOL)
            _sync(file)
        return path

    def load(self, path: Path) -> Any:
        """Return the content of a pickle."""
        with path.open("rb") as file:
            return pickle.load(file)

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        return torch.from_numpy(self.load(path)[1])

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        return [torch.from_numpy(a) for a in self.load(path)[1]]


class PickledDict(Pickle):
    """A pickle of a dict from id to array, the form of most published feature files."""

    name = "pickle of a dict"

    @override
    def write(self, stream: str, arrays: Arrays) -> Path:
        return self.dump(self.folder / f"{stream}.dict.pkl", arrays)

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        return torch.from_numpy(np.stack(list(self.load(path).values())))

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        return [torch.from_numpy(a) for a in self.load(path).values()]


class Npz(Format):
    """An uncompressed npz archive with one array per utterance."""

    name = "npz per utterance"

    @override
    def write(self, stream: str, arrays: Arrays) -> Path:
        path = self.folder / f"{stream}.npz"
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            _sync(file)
        return path

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        with np.load(path, allow_pickle=False) as archive:
            return torch.from_numpy(np.stack([archive[name] for name in archive.files]))

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        with np.load(path, allow_pickle=False) as archive:
            return [torch.from_numpy(archive[name]) for name in archive.files]


class DatasetPerUtterance(Format):
    """HDF5 in its most common use: one dataset per utterance, without checksums."""

    name = "HDF5 per utterance"

    @override
    def write(self, stream: str, arrays: Arrays) -> Path:
        path = self.folder / f"{stream}.each.h5"
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return path

    @override
    def pooled(self, path: Path) -> torch.Tensor:
        with h5py.File(path) as file:
            return torch.from_numpy(np.stack([dataset[...] for dataset in file.values()]))

    @override
    def frames(self, path: Path) -> list[torch.Tensor]:
        with h5py.File(path) as file:
            return [torch.from_numpy(dataset[...]) for dataset in file.values()]


FORMATS = (Cache, Unchecked, Fletcher32, Raw, Pickle, PickledDict, Npz, DatasetPerUtterance)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
