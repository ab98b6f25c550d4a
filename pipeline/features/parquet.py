"""Write and read feature columns in parquet, the format of pandas, polars and Hugging Face `datasets`.

    utterance, status, error
    pooled     [P] numbers, null if the status is not ok
    frames     [T] lists of [D] numbers; with them `times` [T] in seconds

A file with several streams has the stream's name in front of each column: text_status, text_pooled. The schema's
metadata has the provenance as JSON, under `about` or `STREAM_about`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import folders
from pipeline.disk import replacing
from pipeline.errors import UserError
from pipeline.features import schema
from pipeline.features.arrays import ArrayError
from pipeline.features.cache import FeatureCache
from pipeline.features.entries import Loaded, array_key
from pipeline.features.schema import OK, STATUSES

ROW_GROUP = 256  # utterances; bounds the memory for frames
OPEN_GROUPS = (
    4  # row groups in memory while reading: a folder has a file per split, and dialogues of splits mix
)


def to_parquet(cache: FeatureCache, path: Path) -> None:
    """Write one row per utterance. Frames are streamed, so memory does not limit their size.

    Raises:
        CacheError: if the cache is damaged.
        UserError: if the file cannot be written.
    """
    about = {"about": schema.canonical_json(cache.about())}
    shape = pa.schema([("utterance", pa.string()), *columns(cache)], metadata=about)
    pooled = cache.pooled()
    with replacing(path) as part, pq.ParquetWriter(part, shape) as file:
        for start in range(0, len(cache), ROW_GROUP):
            rows = range(start, min(start + ROW_GROUP, len(cache)))
            ids = pa.array([cache.utterances[i] for i in rows])
            file.write_table(pa.Table.from_arrays([ids, *block(cache, pooled, rows)], schema=shape))


def columns(cache: FeatureCache, prefix: str = "") -> list[tuple[str, pa.DataType]]:
    """Return the name and type of each column of a stream, without `utterance`."""
    meta = cache.meta
    found = {
        "status": pa.string(),
        "error": pa.string(),
        "pooled": pa.list_(pa.float32(), meta.pooled_dim),
    }
    if cache.has_frames:
        number = pa.from_numpy_dtype(schema.FRAMES[meta.frames])
        found |= {"frames": pa.list_(pa.list_(number, meta.frames_dim)), "times": pa.list_(pa.float32())}
    return [(prefix + name, kind) for name, kind in found.items()]


def block(cache: FeatureCache, pooled: np.ndarray, rows: Sequence[int]) -> list[pa.Array]:
    """Return some rows of the columns of `columns`.

    Args:
        cache: the stream.
        pooled: its pooled features, [N, P].
        rows: the numbers of the rows, at least one.

    Raises:
        CacheError: if the cache is damaged.
    """
    meta, chosen = cache.meta, list(rows)
    ok = cache.status[chosen] == OK
    arrays = [
        pa.array([STATUSES[cache.status[i]] for i in rows]),
        pa.array([cache.errors[i] for i in rows]),
        pa.FixedSizeListArray.from_arrays(
            pa.array(pooled[chosen].ravel()), type=pa.list_(pa.float32(), meta.pooled_dim), mask=pa.array(~ok)
        ),
    ]
    if cache.has_frames:
        frames = [cache.frames(i) for i in rows]
        offsets = pa.array(np.cumsum([0, *map(len, frames)]), pa.int32())
        inner = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(frames).ravel()), meta.frames_dim)
        times = pa.array(np.concatenate([cache.times(i) for i in rows]))
        arrays += [pa.ListArray.from_arrays(offsets, inner), pa.ListArray.from_arrays(offsets, times)]
    return arrays


class Columns:
    """The features in a parquet file, or in all parquet files of a folder.

    Args:
        path: the file or folder.
        name: the stream's name in front of its columns, or the name of a column of number lists from another tool;
            empty: the columns have no name in front.
        frames: whether to read frames and times too.

    Raises:
        UserError: if a file is damaged or lacks a column, or two rows have one utterance.
    """

    def __init__(self, path: Path, name: str, frames: bool) -> None:
        self._frames = frames
        self._files: list[pq.ParquetFile] = []
        self._prefix = f"{name}_" if name else ""
        self._said = (f"{self._prefix}status", f"{self._prefix}error")
        self._at: dict[str, tuple[int, int, int]] = {}
        # The utterances follow one another, so a row group is read once.
        self._group = lru_cache(maxsize=OPEN_GROUPS)(self._read_group)
        for place in sorted(folders.files(path, ".parquet")) if path.is_dir() else [path]:
            try:
                self._add(place, name)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise UserError(f"{place}: no readable parquet file: {str(error)[:200]}") from None
        self.found = set(self._at)

    def _add(self, path: Path, name: str) -> None:
        if not path.is_file():
            raise UserError(f"{path}: no such file; correct the path")
        file = pq.ParquetFile(path)
        there = set(file.schema_arrow.names)
        self._pooled = name if name in there and f"{name}_pooled" not in there else f"{self._prefix}pooled"
        needed = ["utterance", self._pooled]
        if self._frames:
            needed += [f"{self._prefix}frames", f"{self._prefix}times"]
        if missing := [column for column in needed if column not in there]:
            raise UserError(
                f"{path}: no column {', '.join(missing)}; there are {', '.join(sorted(there))[:200]}; choose a stream "
                "with --array"
            )
        self._files.append(file)
        self._columns = [*needed[1:], *(column for column in self._said if column in there)]
        for group in range(file.num_row_groups):
            for row, utterance in enumerate(
                file.read_row_group(group, ["utterance"])["utterance"].to_pylist()
            ):
                at = (len(self._files) - 1, group, row)
                if not isinstance(utterance, str) or self._at.setdefault(utterance, at) != at:
                    raise UserError(
                        f"{path}: utterance={utterance!r}: not a text, or the id of two rows; correct the file"
                    )

    def _read_group(self, file: int, group: int) -> dict[str, pa.ChunkedArray]:
        table = self._files[file].read_row_group(group, self._columns)
        return {name: table[name] for name in table.column_names}

    def load(self, utterance: str) -> Loaded:
        """Return the utterance's features.

        Raises:
            ArrayError: if it has none; the error has its status.
        """
        file, group, row = self._at[utterance]
        try:
            cells = {name: column[row] for name, column in self._group(file, group).items()}
        except (pa.ArrowException, OSError) as error:
            raise ArrayError(f"damaged row: {str(error)[:200]}") from None
        status, remark = (str(cells[name]) if name in cells else "" for name in self._said)
        if status not in ("ok", ""):
            raise ArrayError(remark, status if status in STATUSES else "corrupt")
        pooled = _numbers(cells[self._pooled], 1)
        if not self._frames:
            return Loaded(array_key(pooled), pooled, remark=remark)
        frames = _numbers(cells[f"{self._prefix}frames"], 2)
        times = _numbers(cells[f"{self._prefix}times"], 1)
        if len(times) != len(frames):
            raise ArrayError(f"{len(frames)} frames and {len(times)} times")
        key = hashlib.sha256("".join(map(array_key, (pooled, frames, times))).encode()).hexdigest()
        return Loaded(key, frames, times, pooled, remark)


def _numbers(cell: Any, dims: int) -> np.ndarray:
    """Return a cell's numbers, [P] or, with `dims` 2, [T, D] f4."""
    values = (
        cell.values if isinstance(cell, pa.ListScalar | pa.FixedSizeListScalar | pa.LargeListScalar) else None
    )
    if values is None:
        raise ArrayError("no list of numbers")
    count = len(values)
    try:
        if dims == 2:
            if len(np.unique(pc.list_value_length(values))) > 1:
                raise ArrayError("frames of different lengths")
            values = values.flatten()
        flat = np.asarray(values.to_numpy(zero_copy_only=False), np.float32)
    except (pa.ArrowException, TypeError, ValueError):
        raise ArrayError("not a list of numbers") from None
    return flat.reshape(count, len(flat) // max(count, 1)) if dims == 2 else flat
