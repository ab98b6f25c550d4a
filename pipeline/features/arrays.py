"""Read untrusted `.npy` and `.npz` files, without unpickling and without trusting the sizes that they claim."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy

from pipeline.errors import UserError
from pipeline.messages import listed

MAX_ARRAY_BYTES = 4 << 30
# A compressed array may expand to this many bytes, or to this many times its compressed size if that is more.
ALWAYS_BYTES, UNFOLDS = 256 << 20, 20


class ArrayError(UserError):
    """An array that is missing or cannot be read: the reason, and the status of its utterance."""

    def __init__(self, why: str, status: str = "corrupt") -> None:
        super().__init__(why)
        self.status = status


def read_npy(data: bytes, source: str) -> np.ndarray:
    """Return the array in the bytes of a `.npy` file, read-only and without a copy.

    Args:
        data: the file's bytes.
        source: the file's name in error messages.

    Raises:
        ArrayError: if the bytes are not a `.npy` file, contain Python objects, or do not fit the shape.
    """
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if header is None:
            raise ValueError(f"format version {version} is unknown")
        shape, fortran, dtype = header(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which only unpickling could read")
        if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError(f"shape {shape} of {dtype} does not fit its {len(data)} bytes")
        flat = np.frombuffer(data, dtype, offset=stream.tell())
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, EOFError, SyntaxError, TokenError, RecursionError) as error:
        raise ArrayError(f"{source}: no readable .npy: {' '.join(str(error).split())}") from None


class Npz:
    """The arrays of a `.npz` file, by name.

    Raises:
        ArrayError: if the file is not a `.npz`. `[name]` raises it if the array is missing, damaged, larger than
            MAX_ARRAY_BYTES, or compressed more than UNFOLDS times.
    """

    def __init__(self, data: bytes | Path, source: str) -> None:
        self.source = source
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ArrayError(f"{source}: no readable .npz: {error}") from None
        self.names = [name.removesuffix(".npy") for name in self.zip.namelist() if name.endswith(".npy")]

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            member = self.zip.getinfo(f"{name}.npy")
        except KeyError:
            raise ArrayError(
                f"{self.source}: no array {name!r}; there are {listed(self.names) or 'none'}"
            ) from None
        try:
            if member.file_size > MAX_ARRAY_BYTES:
                raise ArrayError(f"{self.source}: {name} claims {member.file_size} bytes")
            if member.file_size > max(ALWAYS_BYTES, UNFOLDS * member.compress_size):
                raise ArrayError(
                    f"{self.source}: {name} claims {member.file_size:,} bytes, packed into {member.compress_size:,}; "
                    "if it is meant so, save it with numpy.savez, uncompressed"
                )
            # zipfile checks the CRC and stops at the claimed size.
            data = self.zip.read(member)
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:
            raise ArrayError(f"{self.source}: {name} is damaged: {error}") from None
        return read_npy(data, f"{self.source}: {name}")
