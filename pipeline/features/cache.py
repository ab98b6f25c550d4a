"""Read a feature cache as an untrusted file.

    with FeatureCache(Path("data/features/text.h5")) as cache:
        pooled = cache.pooled()      # [N, P] f4; rows are NaN if cache.status != 0

Opening checks the structure. Every read compares whole chunks with their sums and checks the values. `verify` reads
everything and recomputes the digest. A file of the first format has no sums, so opening it verifies it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pipeline.features import schema
from pipeline.features.schema import OK, STATUSES, CacheError
from pipeline.features.structure import Structure

# Rows without features take memory but no space in the file. More than this many bytes plus this many times the
# file's size are refused as an attack.
MISSING_BYTES, MISSING_SHARE = 1 << 30, 64


class FeatureCache:
    """One stream's features, open for reading.

    Attributes:
        meta: the provenance.
        digest: sha256 (hex) over all values.
        rows_hash: sha256 (hex) over utterances and item keys in order.
        utterances: [N] ids, in row order.
        status: [N] u1, positions in `STATUSES`.
        offsets: [N+1] i8, the first frame of each row; None without frames.

    Raises:
        CacheError: if the file is missing, damaged, or not a feature cache; names the file and the item.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._structure = Structure(self.path)
        try:
            self.meta, self.rows_hash, self.digest = self._structure.meta()
            self.utterances = self._structure.texts("utterance")
            self._check_utterances()
            self.status = self._structure.read("status")
            if self.status.size and self.status.max() >= len(STATUSES):
                raise self._wrong("status", f"unknown code {self.status.max()}")
            self._rows = self._pooled_rows()
            self.offsets = self._read_offsets() if self.has_frames else None
            if self._structure.first:
                self.verify()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._structure.close()

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def has_frames(self) -> bool:
        """Whether frames are stored."""
        return self.meta.frames != "none"

    @cached_property
    def errors(self) -> list[str]:
        """[N] reasons, or remarks on `ok` rows; empty strings for the others."""
        return self._structure.texts("error")

    def about(self) -> dict[str, Any]:
        """Return the provenance, JSON-serialisable: `meta`, `rows_hash` and `digest`."""
        return {**asdict(self.meta), "rows_hash": self.rows_hash, "digest": self.digest}

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each status that occurs."""
        counts = np.bincount(self.status, minlength=len(STATUSES))
        return {name: int(count) for name, count in zip(STATUSES, counts, strict=True) if count}

    def pooled(self) -> np.ndarray:
        """Return the pooled features, [N, P] f4; a row whose status is not ok is NaN.

        Raises:
            CacheError: if a checksum fails or a row's values contradict its status.
        """
        shape = (len(self), self.meta.pooled_dim)
        missing = 4 * (shape[0] - len(self._rows)) * shape[1]
        if missing > MISSING_BYTES + MISSING_SHARE * self._structure.size:
            raise self._wrong(
                "pooled", f"{missing} bytes of rows without features, too many for the file's size"
            )
        pooled = np.empty(shape, schema.FLOAT)
        for start, values in self._structure.datasets["pooled"]:
            self._check_pooled(values, start)
            pooled[self._rows[start : start + len(values)]] = values
        pooled[self.status != OK] = np.nan
        return pooled

    def frames(self, i: int) -> np.ndarray:
        """Return the frames of row `i`, [T, D] f2 or f4; T = 0 if its status is not ok.

        Raises:
            CacheError: if no frames are stored, a checksum fails, or a value is not finite.
        """
        frames = self._structure.datasets["frames"].read(*self._span(i))
        if not schema.finite(frames).all():
            raise self._wrong("frames", f"utterance {self.utterances[i]} has values that are not finite")
        return frames

    def times(self, i: int) -> np.ndarray:
        """Return the times of row `i`'s frames, [T] f4, in seconds from the utterance's start.

        Raises:
            CacheError: if no frames are stored, a checksum fails, or a value is not finite.
        """
        times = self._structure.datasets["times"].read(*self._span(i))
        if not np.isfinite(times).all():
            raise self._wrong("times", f"utterance {self.utterances[i]} has values that are not finite")
        return times

    def verify(self) -> None:
        """Check every value and HDF5's own checksums, and recompute the digest.

        Raises:
            CacheError: the first error found.
        """
        self.errors  # noqa: B018  (reading it checks it)
        lines = []
        for name, dataset in self._structure.datasets.items():
            dataset.check_fletcher32()
            sha256 = hashlib.sha256()
            for start, values in dataset:
                if name == "pooled":
                    self._check_pooled(values, start)
                elif name in ("frames", "times") and not schema.finite(values).all():
                    raise self._wrong(name, f"has values that are not finite, at or after row {start}")
                sha256.update(values.tobytes())
            lines.append(schema.digest_line(name, dataset.dtype, dataset.shape, sha256.hexdigest()))
        if schema.combine(lines) != self.digest:
            raise self._wrong(
                "digest", "does not match the values: they were changed after the file was written"
            )

    def _span(self, i: int) -> tuple[int, int]:
        if self.offsets is None:
            raise self._wrong("frames", f"not stored; set extract.{self.meta.stream}.frames to f2 or f4")
        return int(self.offsets[i]), int(self.offsets[i + 1])

    def _pooled_rows(self) -> np.ndarray:
        """Return the table's row of each stored row of `pooled`."""
        stored = self._structure.datasets["pooled"].shape[0]
        if self._structure.first:
            return np.arange(stored)
        rows = np.flatnonzero(self.status == OK)
        if len(rows) != stored:
            raise self._wrong("pooled", f"{stored} rows for {len(rows)} utterances whose status is ok")
        return rows

    def _check_pooled(self, values: np.ndarray, start: int) -> None:
        rows = self._rows[start : start + len(values)]
        fits = np.isfinite(values).all(axis=1) == (self.status[rows] == OK)
        if not fits.all():
            row = int(rows[np.flatnonzero(~fits)[0]])
            status = STATUSES[self.status[row]]
            raise self._wrong(
                "pooled", f"utterance {self.utterances[row]}: values contradict its status, {status}"
            )

    def _check_utterances(self) -> None:
        if not all(self.utterances):
            raise self._wrong("utterance", f"row {self.utterances.index('')} is empty")
        if len(set(self.utterances)) < len(self.utterances):
            twice, _ = Counter(self.utterances).most_common(1)[0]
            raise self._wrong("utterance", f"duplicate utterance id {twice!r}")

    def _read_offsets(self) -> np.ndarray:
        offsets, total = self._structure.read("offsets"), self._structure.datasets["frames"].shape[0]
        if offsets[0] != 0 or offsets[-1] != total or (offsets[1:] < offsets[:-1]).any():
            raise self._wrong("offsets", f"do not increase from 0 to the number of frames, {total}")
        if ((offsets[1:] > offsets[:-1]) != (self.status == OK)).any():
            raise self._wrong(
                "offsets", "contradict status: exactly the rows whose status is ok must have frames"
            )
        return offsets

    def _wrong(self, item: str, why: str) -> CacheError:
        return CacheError(self.path, item, why)
