"""Export a cache as plain arrays or a table, for tools that cannot read feature caches."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from pipeline import spreadsheet
from pipeline.disk import replacing
from pipeline.features import schema
from pipeline.features.cache import FeatureCache
from pipeline.features.schema import STATUSES


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


def _store(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], blocks: Iterator[np.ndarray]
) -> None:
    # ZipInfo has no date by default, so the same cache gives the same archive.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).tobytes())
