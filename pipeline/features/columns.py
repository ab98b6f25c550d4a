"""Write the datasets of a cache: collect rows, write whole chunks, and hash them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import h5py
import numpy as np

from pipeline.errors import UserError
from pipeline.features import schema
from pipeline.features.chunks import chunk_sum
from pipeline.features.schema import FLOAT, FRAMES, OFFSET, OK, STATUS, STATUSES, SUM, Meta, Row

# Measured: smaller chunks are slower, and larger ones are not faster. Large chunks would also make reading a few
# utterances' frames read the whole file.
CHUNK_BYTES = 1 << 20


class Column:
    """One dataset, filled row by row and written in whole chunks."""

    def __init__(self, file: h5py.File, name: str, dtype: np.dtype, tail: tuple[int, ...] = ()) -> None:
        self.file, self.name, self.dtype, self.tail = file, name, dtype, tail
        row_bytes = dtype.itemsize * math.prod(tail)
        self.block = np.empty((max(1, CHUNK_BYTES // row_bytes), *tail), dtype)
        self.filled = self.length = 0
        self.dataset: h5py.Dataset | None = None
        self.sha256 = hashlib.sha256()
        self.sums: list[int] = []

    def add(self, values: np.ndarray) -> None:
        """Append `values` [K, *tail]."""
        while len(values):
            room = len(self.block) - self.filled
            now, values = values[:room], values[room:]
            self.block[self.filled : self.filled + len(now)] = now
            self.filled += len(now)
            if self.filled == len(self.block):
                self._flush()

    def close(self) -> str:
        """Write the remaining rows and return the dataset's line of the digest."""
        if self.filled or self.dataset is None:
            self._flush()
        shape = (self.length, *self.tail)
        return schema.digest_line(self.name, self.dtype, shape, self.sha256.hexdigest())

    def _flush(self) -> None:
        if self.dataset is None:
            self.dataset = self.file.create_dataset(
                self.name,
                (0, *self.tail),
                self.dtype,
                # The first block is the longest, so no chunk is longer than its dataset.
                chunks=(max(1, self.filled), *self.tail),
                maxshape=(None, *self.tail),
                fletcher32=True,
                track_times=False,
            )
        block, start = self.block[: self.filled], self.length
        self.length += self.filled
        self.dataset.resize(self.length, axis=0)
        if self.filled:
            self.dataset[start:] = block
            self.sums.append(chunk_sum(block))
        self.sha256.update(block.tobytes())
        self.filled = 0


class Table:
    """All datasets of one file."""

    def __init__(self, file: h5py.File, meta: Meta, utterances: Sequence[str]) -> None:
        self.file, self.meta, self.utterances = file, meta, utterances
        self.names = _encode_names(utterances)
        self.pooled = Column(file, "pooled", FLOAT, (meta.pooled_dim,))
        self.columns = [self.pooled]
        if meta.frames != "none":
            self.frames = Column(file, "frames", FRAMES[meta.frames], (meta.frames_dim,))
            self.times = Column(file, "times", FLOAT)
            self.columns += [self.frames, self.times]

    def write(self, rows: Iterable[Row]) -> tuple[str, str]:
        """Write all datasets and return `rows_hash` and `digest`.

        Raises:
            UserError: if rows, utterances and meta are inconsistent, or a value is not finite.
        """
        count = len(self.utterances)
        status, errors, rows_hash = np.zeros(count, STATUS), [b""] * count, hashlib.sha256()
        offsets, done = np.zeros(count + 1, OFFSET), 0
        for i, row in enumerate(rows):
            if i == count:
                raise UserError(
                    f"{self.meta.stream}: more rows than the {count} utterances; give one row each"
                )
            status[i], errors[i] = self._status(i, row), _clip(row.error)
            offsets[i + 1] = offsets[i] + self._add(i, row)
            rows_hash.update(self.names[i] + b"\0" + row.key.encode() + b"\n")
            done += 1
        if done < count:
            raise UserError(f"{self.meta.stream}: {done} rows for {count} utterances; give one row each")
        self._whole("status", status, STATUS)
        if self.meta.frames != "none":
            self._whole("offsets", offsets, OFFSET)
        self._texts("utterance", self.names)
        self._texts("error", errors)
        for name in ("pooled_names", "frames_names"):
            if names := getattr(self.meta, name):
                self._texts(name, [text.encode() for text in names])
        digest = schema.combine([column.close() for column in self.columns])
        sums = Column(self.file, "sums", SUM)
        for column in sorted(self.columns, key=lambda column: column.name):
            sums.add(np.array(column.sums, SUM))
        sums.close()
        return rows_hash.hexdigest(), digest

    def _whole(self, name: str, values: np.ndarray, dtype: np.dtype) -> None:
        column = Column(self.file, name, dtype)
        column.add(values)
        self.columns.append(column)

    def _texts(self, name: str, texts: Sequence[bytes]) -> None:
        column = Column(self.file, name, schema.text_type(max(map(len, texts), default=1)))
        step = len(column.block)
        for start in range(0, len(texts), step):
            column.add(np.array(texts[start : start + step], dtype=column.dtype))
        self.columns.append(column)

    def _status(self, i: int, row: Row) -> int:
        if row.status not in STATUSES:
            raise self._wrong(i, f"status={row.status!r} is not one of {', '.join(STATUSES)}")
        return STATUSES.index(row.status)

    def _add(self, i: int, row: Row) -> int:
        """Append the row's features and return the number of its frames."""
        if row.status != STATUSES[OK]:
            if row.pooled is not None or row.frames is not None:
                raise self._wrong(i, f"status={row.status} with features")
            return 0
        self.pooled.add(self._array(i, "pooled", row.pooled, (self.meta.pooled_dim,), FLOAT)[None])
        if self.meta.frames == "none":
            return 0
        length = 0 if row.frames is None else len(row.frames)
        if not length:
            raise self._wrong(i, f"status=ok without frames, but frames={self.meta.frames}")
        shape = (length, self.meta.frames_dim)
        self.frames.add(self._array(i, "frames", row.frames, shape, self.frames.dtype))
        self.times.add(self._array(i, "times", row.times, shape[:1], FLOAT))
        return length

    def _array(
        self, i: int, name: str, values: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype
    ) -> np.ndarray:
        array = np.asarray(values)
        if values is None or array.shape != shape:
            raise self._wrong(i, f"{name} has the shape {array.shape}, not {shape}")
        if array.dtype.kind not in "fiu":
            raise self._wrong(i, f"{name} has the type {array.dtype}, not numbers")
        with np.errstate(over="ignore"):
            stored = array.astype(dtype, copy=False)
        if not schema.finite(stored).all():
            why = f"too large for {dtype.name}" if np.isfinite(array).all() else "not finite"
            raise self._wrong(i, f"{name} has values that are {why}")
        return stored

    def _wrong(self, i: int, why: str) -> UserError:
        return UserError(
            f"{self.meta.stream}: utterance {self.utterances[i]}: {why}; correct it and run again"
        )


def _clip(error: str) -> bytes:
    """Return a reason in its stored form: one line of at most MAX_ERROR bytes, cut between characters."""
    data = schema.one_line(error).encode()
    if len(data) <= schema.MAX_ERROR:
        return data
    return (data[: schema.MAX_ERROR - 3].decode(errors="ignore") + "…").encode()


def _encode_names(utterances: Sequence[str]) -> list[bytes]:
    seen = set()
    for name in utterances:
        if not name or not name.isprintable():
            raise UserError(f"utterance {name!r}: must be non-empty and printable")
        if name in seen:
            raise UserError(f"duplicate utterance id {name!r}; rename one")
        seen.add(name)
    return [name.encode() for name in utterances]
