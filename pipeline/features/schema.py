"""What a feature cache holds: the words, types and limits that writer and reader share.

/utterance [N], /status [N] u1, /error [N], /pooled [K, P] f4 of the K rows that are ok, in their order, and where
frames are stored /frames [sum T, D] f2 or f4, /offsets [N+1] i8, /times [sum T] f4 (seconds); /pooled_names [P] and
/frames_names [D] where dimensions have names. Row i of N is row i of utterances.csv. /sums [C] u8 holds one sum of
each chunk of each dataset, the datasets by name (`chunks`).

Files of the first format are read, not written: theirs is /pooled [N, P], NaN where a row is not ok, and no /sums.
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
    """A feature file that cannot be trusted; names the file, the item in it, and what is wrong."""

    def __init__(self, path: Path, item: str, why: str) -> None:
        super().__init__(path, item, why)
        self.path, self.item, self.why = Path(path), item, why

    def __str__(self) -> str:
        return f"{self.path}: {self.item}: {self.why}"


@dataclass(frozen=True)
class Meta:
    """Where a cache comes from: all that a stranger must know to trust it or to make it again.

    Attributes:
        encoder: the encoder's params, JSON-able, never a path.
        weights: name, revision and sha256; empty where the encoder has none.
        weights_saw: of fine-tuned weights `fold` and `ids`, the hashes of the utterances in their `train` part and in
            their `val` part; None for others.
        packages: distribution name → version.
        code: hash of the modules that compute the features.
        frames_dim: 0 where no frames are stored (`frames` is `none`).
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
    """One utterance's features, or why it has none. `pooled` [P]; `frames` [T, D] and `times` [T] (seconds).

    `key` is the item's key, empty where there was no item; `error` may also hold a remark on an `ok` row.
    """

    key: str
    status: str
    error: str = ""
    pooled: np.ndarray | None = None
    frames: np.ndarray | None = None
    times: np.ndarray | None = None


def text_type(width: int) -> np.dtype:
    """Fixed-length UTF-8; HDF5 knows no strings of length 0."""
    return h5py.string_dtype("utf-8", max(1, width))


def one_line(text: str) -> str:
    """`text` on one line and printable: a reason may quote file names that hold anything."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in line)


def finite(values: np.ndarray) -> np.ndarray:
    """Which values are neither NaN nor infinite."""
    if values.dtype == FRAMES["f2"]:
        # By their bits: NumPy widens every half to a float first, which takes longer than reading the file.
        return (values.view(np.uint16) & 0x7C00) != 0x7C00
    return np.isfinite(values)


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value; ASCII, keys sorted."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_line(name: str, dtype: np.dtype, shape: tuple[int, ...], sha256: str) -> str:
    """One dataset's part of the digest."""
    kind = f"utf8[{dtype.itemsize}]" if dtype.kind == "S" else dtype.str
    return f"{name} {kind} {'x'.join(map(str, shape))} {sha256}\n"


def combine(lines: Iterable[str]) -> str:
    """The digest: sha256 (hex) over every dataset's name, dtype, shape and sha256 of its values, by name."""
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
