"""Export a cache as plain arrays or a table, for tools that cannot read feature caches."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from pipeline import spreadsheet
from pipeline.disk import replacing
from pipeline.features import schema
from pipeline.features.cache import FeatureCache
from pipeline.features.schema import STATUSES

ROW_GROUP = 256  # utterances; bounds the memory for frames


def to_npz(cache: FeatureCache, path: Path) -> None:
    """Write the arrays under their names in the cache, and `about`, their provenance as JSON.

    `status` contains names instead of numbers. No array is pickled. Frames are streamed, so memory does not limit
    their size.

    Raises:
        CacheError: if the cache is damaged.
        UserError: if the file cannot be written.
    """
    arrays = {
        "utterance": np.array(cache.utterances, dtype=str),
        "status": np.array(STATUSES)[cache.status],
        "error": np.array(cache.errors, dtype=str),
        "pooled": cache.pooled(),
        "about": np.array(schema.canonical_json(cache.about())),
    }
    for name, names in (("pooled_names", cache.meta.pooled_names), ("frames_names", cache.meta.frames_names)):
        if names:
            arrays[name] = np.array(names)
    with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            _store(archive, name, array.dtype, array.shape, iter([array]))
        if cache.offsets is not None:
            total, dim = int(cache.offsets[-1]), cache.meta.frames_dim
            _store(archive, "offsets", cache.offsets.dtype, cache.offsets.shape, iter([cache.offsets]))
            rows = range(len(cache))
            dtype = schema.FRAMES[cache.meta.frames]
            _store(archive, "frames", dtype, (total, dim), (cache.frames(i) for i in rows))
            _store(archive, "times", schema.FLOAT, (total,), (cache.times(i) for i in rows))


def to_csv(cache: FeatureCache, path: Path) -> None:
    """Write one line per utterance: utterance, status, error, then the pooled values, empty if there are none.

    Raises:
        CacheError: if the cache is damaged.
        UserError: if the file cannot be written.
    """
    dim = cache.meta.pooled_dim
    pooled = cache.pooled()
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["utterance", "status", "error", *(cache.meta.pooled_names or (f"p{i}" for i in range(dim)))]
        )
        for i, (utterance, error) in enumerate(zip(cache.utterances, cache.errors, strict=True)):
            code = cache.status[i]
            # str of a float32 is the shortest text that is parsed to the same value.
            values = [str(v) for v in pooled[i]] if code == schema.OK else [""] * dim
            table.writerow([utterance, STATUSES[code], error, *values])
    spreadsheet.warn([*cache.meta.pooled_names, *cache.utterances, *cache.errors], path)


def to_parquet(cache: FeatureCache, path: Path) -> None:
    """Write one row per utterance, readable by pandas, polars and Hugging Face `datasets`.

    The columns are utterance, status, error and pooled (a list of P numbers, null if the status is not ok). With
    frames, there are also frames (a list of T lists of D numbers) and times (a list of T seconds). The schema's
    metadata has the provenance as JSON, under the key `about`. Frames are streamed, so memory does not limit their
    size.

    Raises:
        CacheError: if the cache is damaged.
        UserError: if the file cannot be written.
    """
    meta, pooled = cache.meta, cache.pooled()
    columns = {
        "utterance": pa.string(),
        "status": pa.string(),
        "error": pa.string(),
        "pooled": pa.list_(pa.float32(), meta.pooled_dim),
    }
    if cache.has_frames:
        number = pa.from_numpy_dtype(schema.FRAMES[meta.frames])
        columns |= {"frames": pa.list_(pa.list_(number, meta.frames_dim)), "times": pa.list_(pa.float32())}
    about = {"about": schema.canonical_json(cache.about())}
    shape = pa.schema(list(columns.items()), metadata=about)
    with replacing(path) as part, pq.ParquetWriter(part, shape) as file:
        for start in range(0, len(cache), ROW_GROUP):
            rows = range(start, min(start + ROW_GROUP, len(cache)))
            ok = cache.status[rows.start : rows.stop] == schema.OK
            values = pa.array(pooled[rows.start : rows.stop].ravel())
            arrays = [
                pa.array(cache.utterances[rows.start : rows.stop]),
                pa.array([STATUSES[cache.status[i]] for i in rows]),
                pa.array(cache.errors[rows.start : rows.stop]),
                pa.FixedSizeListArray.from_arrays(values, type=columns["pooled"], mask=pa.array(~ok)),
            ]
            if cache.has_frames:
                frames = [cache.frames(i) for i in rows]
                offsets = pa.array(np.cumsum([0, *map(len, frames)]), pa.int32())
                flat = pa.array(np.concatenate(frames).ravel())
                inner = pa.FixedSizeListArray.from_arrays(flat, meta.frames_dim)
                times = pa.array(np.concatenate([cache.times(i) for i in rows]))
                arrays += [pa.ListArray.from_arrays(offsets, inner), pa.ListArray.from_arrays(offsets, times)]
            file.write_table(pa.Table.from_arrays(arrays, schema=shape))


def _store(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], blocks: Iterator[np.ndarray]
) -> None:
    # ZipInfo has no date by default, so the same cache gives the same archive.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).tobytes())
