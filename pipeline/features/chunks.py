"""Read a dataset in whole chunks and compare each chunk with its sum.

HDF5's own checksum, fletcher32, is zero if all bytes are zero, so it does not detect a chunk that a disk returns as
zeros. The sums here are XXH3 hashes of the chunks' values, stored in a separate dataset. Chunks are read directly,
without fletcher32, because computing it takes longer than the rest of the reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import xxhash
from h5py import h5d, h5s

from pipeline.features.schema import CacheError

FLETCHER32_BYTES = 4


@contextmanager
def guard(path: Path, item: str) -> Iterator[None]:
    """Convert every error that HDF5 raises on a damaged file to a `CacheError`."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise CacheError(path, item, f"damaged: {why}; fetch or extract it again") from None


def chunk_sum(values: np.ndarray) -> int:
    """Return the XXH3 hash (64 bits) of an array's bytes."""
    return xxhash.xxh3_64_intdigest(values.view(np.uint8).data)


class Chunks:
    """One dataset. Call `check` before reading.

    Attributes:
        shape, dtype: those of the dataset.
        rows: the number of rows in a chunk; the last chunk may have fewer.
        sums: the chunks' sums, in order; None if the file has no sums.
    """

    def __init__(self, path: Path, name: str, dataset: h5d.DatasetID, dtype: np.dtype) -> None:
        self.path, self.name = path, name
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype = dtype
        self.rows: int = dataset.get_create_plist().get_chunk()[0]
        self.sums: np.ndarray | None = None
        self._dataset = dataset
        self._held = -1

    def __len__(self) -> int:
        return -(-self.shape[0] // self.rows)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each chunk's first row and its values, which are valid until the next chunk is read."""
        for number in range(len(self)):
            yield number * self.rows, self._chunk(number)

    def check(self, file_size: int) -> None:
        """Check that every chunk exists, has its full size, lies inside the file and has a checksum.

        Raises:
            CacheError: if a chunk does not.
        """
        chunk = self._dataset.get_create_plist().get_chunk()
        if chunk[1:] != self.shape[1:] or self.rows > max(1, self.shape[0]):
            raise self._wrong(f"has chunks of {chunk} for the shape {self.shape}")
        size = math.prod(chunk) * self.dtype.itemsize + FLETCHER32_BYTES
        found = 0

        def look(info: h5d.StoreInfo) -> None:
            if info.size != size or info.filter_mask or info.byte_offset + size > file_size:
                raise self._wrong(f"the chunk at row {info.chunk_offset[0]} is truncated or has no checksum")
            nonlocal found
            found += 1

        with guard(self.path, self.name):
            self._dataset.chunk_iter(look)
        if found != len(self):
            raise self._wrong(f"{found} chunks of {chunk} do not fill the shape {self.shape}")

    def check_fletcher32(self) -> None:
        """Read the dataset through HDF5 to compare its own checksums, on which other HDF5 readers rely.

        Raises:
            CacheError: if a chunk does not match its checksum.
        """
        row = [0] * (len(self.shape) - 1)
        with guard(self.path, self.name):
            for first in range(0, self.shape[0], self.rows):
                count = (min(self.rows, self.shape[0] - first), *self.shape[1:])
                space = self._dataset.get_space()
                space.select_hyperslab((first, *row), count)
                self._dataset.read(h5s.create_simple(count), space, np.empty(count, self.dtype))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return a copy of rows `start` to `stop`, `stop` excluded.

        Raises:
            CacheError: if a chunk cannot be read or does not match its sum.
        """
        values = np.empty((stop - start, *self.shape[1:]), self.dtype)
        done = start
        while done < stop:
            number, skip = divmod(done, self.rows)
            part = self._chunk(number)[skip : skip + stop - done]
            values[done - start : done - start + len(part)] = part
            done += len(part)
        return values

    def _chunk(self, number: int) -> np.ndarray:
        first = number * self.rows
        count = min(self.rows, self.shape[0] - first)
        if number != self._held:
            self._held = -1
            with guard(self.path, self.name):
                self._dataset.read_direct_chunk((first, *[0] * (len(self.shape) - 1)), out=self._buffer)
            if self.sums is not None and chunk_sum(self._values[:count]) != self.sums[number]:
                last = first + count - 1
                raise self._wrong(
                    f"damaged: rows {first} to {last} do not match their sum; fetch or extract it again"
                )
            self._held = number
        return self._values[:count]

    @cached_property
    def _buffer(self) -> bytearray:
        return bytearray(self.rows * math.prod(self.shape[1:]) * self.dtype.itemsize + FLETCHER32_BYTES)

    @cached_property
    def _values(self) -> np.ndarray:
        """Return the buffer's values without the checksum, [rows, …]."""
        shape = (self.rows, *self.shape[1:])
        return np.frombuffer(self._buffer, self.dtype, math.prod(shape)).reshape(shape)

    def _wrong(self, why: str) -> CacheError:
        return CacheError(self.path, self.name, why)
