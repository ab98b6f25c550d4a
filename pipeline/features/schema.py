"""The schema of a feature cache: names, types and limits shared by writer and reader.

Every file has these datasets; row i of N is row i of utterances.csv:

    /utterance [N], /status [N] u1, /error [N]
    /pooled [K, P] f4       the K rows whose status is ok, in order
    /sums [C] u8            one sum per chunk of each dataset, datasets sorted by name (see `chunks`)

A file with frames also has:

    /frames [sum T, D] f2 or f4, /offsets [N+1] i8, /times [sum T] f4 (seconds)

/pooled_names [P] and /frames_names [D] exist if the dimensions have names.

The first format can be read but is no longer written: its /pooled is [N, P], NaN if a row is not ok, without /sums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.errors import UserError

FIRST, SCHEMA = "emofuse-features-1", "emofuse-features-2"
STATUSES = (
    "ok",
    "missing_file",
    "corrupt",
    "no_text",
    "no_audio",
    "no_face",
    "too_short",
    "too_long",
    "failed",
)
OK = 0
FLOAT, STATUS, OFFSET, SUM = np.dtype("<f4"), np.dtype("u1"), np.dtype("<i8"), np.dtype("<u8")
FRAMES: dict[str, np.dtype] = {"f2": np.dtype("<f2"), "f4": FLOAT}
META_ATTRIBUTES = (
    "stream", "modality", "corpus", "licence", "encoder", "weights", "weights_saw", "packages", "code", "fingerprint",
)  # fmt: skip
ATTRIBUTES = ("schema", *META_ATTRIBUTES, "rows_hash", "digest")
JSON_ATTRIBUTES = ("encoder", "weights", "weights_saw", "packages")
MAX_ATTRIBUTE = 1 << 20
MAX_ERROR = 400


class CacheError(UserError):
    """An invalid feature file; the message names the file, the item and the error."""

    def __init__(self, path: Path, item: str, why: str) -> None:
        super().__init__(path, item, why)
        self.path, self.item, self.why = Path(path), item, why

    def __str__(self) -> str:
        return f"{self.path}: {self.item}: {self.why}"


@dataclass(frozen=True)
class Meta:
    """The provenance of a cache: everything needed to trust it or to make it again.

    Attributes:
        encoder: the encoder's params, JSON-serialisable, never a path.
        weights: name, revision and sha256; empty strings if the encoder has no weights.
        weights_saw: for fine-tuned weights, `fold` and `ids`: hashes of the utterance ids in the `train` part and, if
            they chose the epoch, in the `val` part; `crossfit`, the number of encoders that each did not see a part of
            `train`, whose features they made; otherwise None.
        packages: distribution name → version.
        code: the hash of the modules that compute the features.
        frames_dim: D, or 0 if no frames are stored (`frames` is `none`).
    """

    stream: str
    modality: str
    corpus: str
    licence: str
    encoder: dict[str, Any]
    weights: dict[str, str]
    weights_saw: dict[str, Any] | None
    packages: dict[str, str]
    code: str
    fingerprint: str
    pooled_dim: int
    frames_dim: int = 0
    frames: str = "none"
    pooled_names: tuple[str, ...] = ()
    frames_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One utterance's features, or the reason why it has none.

    Attributes:
        key: the item's key; empty if there is no item.
        status: one of STATUSES.
        error: the reason, or a remark on an `ok` row.
        pooled: [P].
        frames: [T, D].
        times: [T], seconds.
    """

    key: str
    status: str
    error: str = ""
    pooled: np.ndarray | None = None
    frames: np.ndarray | None = None
    times: np.ndarray | None = None


def text_type(width: int) -> np.dtype:
    """Return the dtype of fixed-length UTF-8 strings; the length is at least 1, HDF5's minimum."""
    dtype: np.dtype = h5py.string_dtype("utf-8", max(1, width))
    return dtype


def one_line(text: str) -> str:
    """Return `text` on one line with unprintable characters replaced; a reason may quote any file name."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in line)


def finite(values: np.ndarray) -> np.ndarray:
    """Return which values are neither NaN nor infinite, as bool of the same shape."""
    # For halves, test the exponent bits: NumPy converts every half to a float, which is slower than reading the file.
    half = values.dtype == FRAMES["f2"]
    found: np.ndarray = (values.view(np.uint16) & 0x7C00) != 0x7C00 if half else np.isfinite(values)
    return found


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a value: ASCII, sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_line(name: str, dtype: np.dtype, shape: tuple[int, ...], sha256: str) -> str:
    """Return one dataset's line of the digest's input."""
    kind = f"utf8[{dtype.itemsize}]" if dtype.kind == "S" else dtype.str
    return f"{name} {kind} {'x'.join(map(str, shape))} {sha256}\n"


def combine(lines: Iterable[str]) -> str:
    """Return the digest: sha256 (hex) over the sorted lines, one per dataset (see `digest_line`)."""
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
