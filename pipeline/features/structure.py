"""Check the structure of an untrusted HDF5 file before its values are read or memory is allocated.

Everything that a feature cache never contains is refused: soft and external links, virtual or external storage, filters
other than fletcher32, groups, other objects. No shape may exceed the file's size, and every chunk must be complete.
Damage and misuse of HDF5's documented features raise a `CacheError`. One attack remains: an index that is forged
together with its checksum can make libhdf5 loop or crash, which no caller can catch. Run `verify` on files from
untrusted people first, as a separate process.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5o, h5s, h5t, h5z

from pipeline.features import schema
from pipeline.features.chunks import Chunks, guard
from pipeline.features.schema import FLOAT, FRAMES, OFFSET, STATUS, SUM, CacheError, Meta
from pipeline.names import stream_or_none
from pipeline.params import MODALITIES

# HDF5's type → NumPy's.
_NUMBERS: dict[h5t.TypeID, np.dtype] = {
    h5t.IEEE_F32LE: FLOAT,
    h5t.IEEE_F16LE: FRAMES["f2"],
    h5t.STD_U8LE: STATUS,
    h5t.STD_I64LE: OFFSET,
    h5t.STD_U64LE: SUM,
}
_TEXT = "text"
_TYPES: dict[str, tuple[Any, ...]] = {
    "utterance": (_TEXT,), "status": (STATUS,), "error": (_TEXT,), "pooled": (FLOAT,),
    "frames": tuple(FRAMES.values()), "offsets": (OFFSET,), "times": (FLOAT,),
    "pooled_names": (_TEXT,), "frames_names": (_TEXT,), "sums": (SUM,),
}  # fmt: skip
_RANKS = {"pooled": 2, "frames": 2}
_ALWAYS = {"utterance", "status", "error", "pooled"}
_WITH_FRAMES = {"frames", "offsets", "times"}


class Structure:
    """An open file whose datasets are complete and are exactly those of a cache.

    Attributes:
        first: whether the file has the first format, with no sums and a pooled row for every utterance.
        datasets: all datasets by name, except the sums.

    Raises:
        CacheError: if the file is missing, damaged or not a feature cache.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise CacheError(
                path, "file", "no such file; run `dvc repro` to make it or `dvc pull` to fetch it"
            )
        self.size = path.stat().st_size
        with guard(path, "file"):
            # Caches are never changed in place, so no lock is needed; some file systems do not support locks.
            self.file = h5py.File(path, "r", locking=False)
        self.datasets: dict[str, Chunks] = {}
        try:
            self.first = self._schema() == schema.FIRST
            self._open_all()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with guard(self.path, "file"):
            self.file.close()

    def read(self, name: str) -> np.ndarray:
        """Return all rows of a dataset."""
        dataset = self.datasets[name]
        return dataset.read(0, dataset.shape[0])

    def texts(self, name: str) -> list[str]:
        """Return a dataset of strings, [N].

        Raises:
            CacheError: if a string is not printable UTF-8.
        """
        values = self.read(name).tolist()
        # Checking one joined string is faster than a loop. A line break is not printable, so no value contains one.
        lines = self._text(name, b"\n".join(values)).split("\n") if values else []
        if len(lines) != len(values) or not "".join(lines).isprintable():
            raise CacheError(self.path, name, "contains unprintable characters")
        return lines

    def meta(self) -> tuple[Meta, str, str]:
        """Return the attributes: meta, rows_hash, digest.

        Raises:
            CacheError: if an attribute is missing or invalid.
        """
        with guard(self.path, "attributes"):
            found = h5a.get_num_attrs(self.file.id)
        if found != len(schema.ATTRIBUTES):
            raise CacheError(self.path, "attributes", f"expected {len(schema.ATTRIBUTES)}, found {found}")
        text = {name: self._attribute(name) for name in schema.ATTRIBUTES}
        try:
            stream_or_none(text["stream"])
        except ValueError as error:
            raise CacheError(self.path, "stream", f"{text['stream'][:80]!r}: {error}") from None
        if text["modality"] not in (*MODALITIES, "none"):
            known = ", ".join(MODALITIES)
            raise CacheError(self.path, "modality", f"{text['modality']!r} is not one of {known}")
        values: dict[str, Any] = {
            name: self._json(name, text[name]) if name in schema.JSON_ATTRIBUTES else text[name]
            for name in schema.META_ATTRIBUTES
        }
        frames = self.datasets.get("frames")
        meta = Meta(
            **values,
            pooled_dim=self.datasets["pooled"].shape[1],
            frames_dim=0 if frames is None else frames.shape[1],
            frames="none" if frames is None else next(k for k, v in FRAMES.items() if v == frames.dtype),
            pooled_names=tuple(self.texts("pooled_names")) if "pooled_names" in self.datasets else (),
            frames_names=tuple(self.texts("frames_names")) if "frames_names" in self.datasets else (),
        )
        return meta, text["rows_hash"], text["digest"]

    def _open_all(self) -> None:
        with guard(self.path, "file"):
            names = [name.decode("utf-8", "replace") for name in self.file.id]
        for name in names:
            if name not in _TYPES:
                raise CacheError(self.path, repr(name), "does not belong in a feature cache")
            with guard(self.path, name):
                self._open(name)
        have = set(names)
        wanted = _ALWAYS | (_WITH_FRAMES if have & (_WITH_FRAMES | {"frames_names"}) else set())
        wanted |= set() if self.first else {"sums"}
        for name in sorted(wanted - have):
            raise CacheError(self.path, name, "is missing")
        if self.first and "sums" in have:
            raise CacheError(self.path, "sums", f"does not belong in {schema.FIRST}")
        self._check_shapes()
        for name in names:
            self.datasets[name].check(self.size)
        if not self.first:
            self._assign_sums()

    def _assign_sums(self) -> None:
        # The sums have no sums of their own: a wrong sum makes its chunk fail the comparison.
        self.datasets["sums"].check_fletcher32()
        sums = self.read("sums")
        del self.datasets["sums"]
        for _, dataset in sorted(self.datasets.items()):
            dataset.sums, sums = sums[: len(dataset)], sums[len(dataset) :]

    def _open(self, name: str) -> None:
        where = self.file.id
        if where.links.get_info(name.encode()).type != h5l.TYPE_HARD:
            raise CacheError(self.path, name, "is a link, not a dataset")
        if h5o.get_info(where, name.encode()).type != h5o.TYPE_DATASET:
            raise CacheError(self.path, name, "is not a dataset")
        dataset = h5d.open(where, name.encode())
        plist = dataset.get_create_plist()
        if plist.get_layout() != h5d.CHUNKED:
            raise CacheError(self.path, name, "is not stored in chunks")
        if dataset.rank != _RANKS.get(name, 1):
            raise CacheError(self.path, name, f"has {dataset.rank} dimensions")
        self.datasets[name] = Chunks(self.path, name, dataset, self._dtype(name, dataset))
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if filters != [h5z.FILTER_FLETCHER32]:
            raise CacheError(self.path, name, f"filters {filters}: expected only fletcher32")
        if h5a.get_num_attrs(dataset):
            raise CacheError(self.path, name, "has attributes")

    def _dtype(self, name: str, dataset: h5d.DatasetID) -> np.dtype:
        kind = dataset.get_type()
        if _TEXT in _TYPES[name]:
            return schema.text_type(self._width(name, kind))
        for number, dtype in _NUMBERS.items():
            if dtype in _TYPES[name] and kind == number:
                return dtype
        raise CacheError(self.path, name, "has the wrong type")

    def _width(self, item: str, kind: h5t.TypeID) -> int:
        if kind.get_class() != h5t.STRING or kind.is_variable_str() or kind.get_cset() != h5t.CSET_UTF8:
            raise CacheError(self.path, item, "is not fixed-length UTF-8")
        size: int = kind.get_size()
        if size > min(self.size, schema.MAX_ATTRIBUTE):
            raise CacheError(self.path, item, f"claims strings of {size} bytes")
        return size

    def _check_shapes(self) -> None:
        shapes = {name: dataset.shape for name, dataset in self.datasets.items()}
        (count,), (stored, pooled) = shapes["utterance"], shapes["pooled"]
        total, frames = shapes.get("frames", (0, 0))
        expected = {
            "utterance": (count,), "status": (count,), "error": (count,),
            "pooled": (count if self.first else min(stored, count), pooled),
            "frames": (total, frames), "offsets": (count + 1,), "times": (total,),
            "pooled_names": (pooled,), "frames_names": (frames,),
            "sums": (sum(len(dataset) for name, dataset in self.datasets.items() if name != "sums"),),
        }  # fmt: skip
        for name, shape in shapes.items():
            if shape != expected[name] or 0 in shape[1:]:
                raise CacheError(
                    self.path, name, f"has the shape {shape}, which contradicts the other datasets"
                )
            if math.prod(shape) * self.datasets[name].dtype.itemsize > self.size:
                raise CacheError(self.path, name, f"claims the shape {shape} in a file of {self.size} bytes")

    def _schema(self) -> str:
        found = self._attribute("schema")
        if found not in (schema.FIRST, schema.SCHEMA):
            raise CacheError(self.path, "schema", f"{found!r} is neither {schema.FIRST} nor {schema.SCHEMA}")
        return found

    def _attribute(self, name: str) -> str:
        with guard(self.path, name):
            if not h5a.exists(self.file.id, name.encode()):
                raise CacheError(self.path, name, "is missing")
            attribute = h5a.open(self.file.id, name.encode())
            width = self._width(name, attribute.get_type())
            if attribute.get_space().get_simple_extent_type() != h5s.SCALAR:
                raise CacheError(self.path, name, "is not a single value")
            value = np.empty((), schema.text_type(width))
            attribute.read(value)
        text = self._text(name, value.tobytes().rstrip(b"\0"))
        if not text.isprintable():
            raise CacheError(self.path, name, "contains unprintable characters")
        return text

    def _json(self, name: str, text: str) -> Any:
        with guard(self.path, name):
            value = json.loads(text, parse_constant=_refuse)
        if name == "weights_saw" and value is None:
            return None
        if not isinstance(value, dict):
            raise CacheError(self.path, name, "is not a JSON object")
        if name in ("weights", "packages") and not all(isinstance(v, str) for v in value.values()):
            raise CacheError(self.path, name, "has values that are not strings")
        return value

    def _text(self, item: str, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise CacheError(self.path, item, f"is not UTF-8 at byte {error.start}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")
