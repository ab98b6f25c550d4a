"""Write a feature cache as a stream, in constant memory and safe against crashes.

The same inputs give the same bytes: chunks are written whole and in order, strings have the width of the longest, and
the file contains no date, host or path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from pipeline.disk import NotingFile, replacing
from pipeline.errors import UserError
from pipeline.features import schema
from pipeline.features.columns import Table
from pipeline.features.schema import FRAMES, Meta, Row


def write(path: Path, meta: Meta, utterances: Sequence[str], rows: Iterable[Row]) -> None:
    """Write `rows`, one per utterance and in that order, as the cache at `path`.

    An old file at `path` is replaced only after the new one is complete on the disk.

    Raises:
        UserError: if rows and utterances are inconsistent, a value is not finite, or the disk is full.
    """
    path = Path(path)
    with replacing(path) as part, NotingFile(part, "w+b") as raw:
        _fill(raw, meta, utterances, rows)


def _fill(raw: NotingFile, meta: Meta, utterances: Sequence[str], rows: Iterable[Row]) -> None:
    attributes = _attributes(meta)
    try:
        # v110 checksums its metadata; older formats do not detect some flipped bits.
        with h5py.File(raw, "w", libver=("v110", "v110")) as file:
            rows_hash, digest = Table(file, meta, utterances).write(_until_full(raw, rows))
            for name, text in {**attributes, "rows_hash": rows_hash, "digest": digest}.items():
                data = text.encode()
                file.attrs.create(name, np.bytes_(data), dtype=schema.text_type(len(data)))
    finally:
        # HDF5's error on a full disk hides the reason, so raise the first failed write instead.
        raw.check()


def _until_full(raw: NotingFile, rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        yield row
        raw.check()


def _attributes(meta: Meta) -> dict[str, str]:
    """Return the file's attributes as text, except `rows_hash` and `digest`."""
    stored = "f4" if meta.frames == "none" else meta.frames
    if meta.pooled_dim < 1 or (meta.frames == "none") != (meta.frames_dim == 0) or stored not in FRAMES:
        raise _wrong(
            meta, "dimensions", f"{meta.pooled_dim} pooled, {meta.frames_dim} frames as {meta.frames}"
        )
    for name, dim in (("pooled_names", meta.pooled_dim), ("frames_names", meta.frames_dim)):
        names = getattr(meta, name)
        if names and (len(names) != dim or not all(n and n.isprintable() for n in names)):
            raise _wrong(meta, name, f"expected {dim} printable names, got {len(names)}")
    for name, value in (*meta.encoder.items(), *meta.weights.items()):
        if isinstance(value, str) and PurePosixPath(value).is_absolute():
            raise _wrong(meta, name, f"{value!r} is a path, but caches are shared; give a name instead")
    values = {"schema": schema.SCHEMA}
    for name in schema.META_ATTRIBUTES:
        value = getattr(meta, name)
        text = schema.canonical_json(value) if name in schema.JSON_ATTRIBUTES else schema.one_line(value)
        if len(text.encode()) > schema.MAX_ATTRIBUTE:
            raise _wrong(meta, name, f"longer than {schema.MAX_ATTRIBUTE} bytes")
        values[name] = text
    return values


def _wrong(meta: Meta, field: str, why: str) -> UserError:
    return UserError(f"features of {meta.stream}: {field}: {why}; shorten it")
