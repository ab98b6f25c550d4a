"""Import features from other tools into a cache.

    python -m pipeline.features import FOLDER --stream NAME --modality audio --corpus meld \\
        --licence "research only" --encoder "HuBERT large, layer 24, mean over time"

FOLDER contains one `.npy` or `.npz` per utterance, named by its id: `[P]`, or `[T, D]` frames, which are pooled by
their mean. The source may also be:

- one `.npz` with a matrix `[N, P]` and the ids of its rows, or with one array per utterance, named by its id;
- one `.csd` of the CMU Multimodal SDK;
- one `.parquet` file with the columns of `pipeline.features export`, or a folder of such files. With the features of
  several streams in it, `--array` names the stream;
- one `.pkl` of MMSA, which is read as data. `--array` is text, audio or vision; by default the modality's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from pipeline import folders
from pipeline.corpora import raw
from pipeline.errors import UserError
from pipeline.features import one_npz, schema
from pipeline.features.arrays import ArrayError, Npz, read_npy
from pipeline.features.entries import Arrays, Clips, Entries, Loaded
from pipeline.features.parquet import Columns
from pipeline.features.schema import Meta, Row
from pipeline.features.writer import write
from pipeline.messages import listed
from pipeline.tables.schema import Utterance

LARGEST = float(np.finfo(np.float32).max)
MMSA = {"visual": "vision"}  # the modality's name in MMSA's pickles, where it differs
MOST = {"f2": float(np.finfo(np.float16).max), "f4": LARGEST}


@dataclass(frozen=True)
class Source:
    """The arrays to import and how to read them.

    Attributes:
        path: a folder of `.npy`/`.npz`, one `.npz`, or one of the other files above.
        array: the array's name in each `.npz`, a stream's name in `.parquet`, or a field of a `.pkl`; empty: the only
            array, or the default.
        ids: the name of the array of ids in a single `.npz`.
        names: a csv with columns file,utterance if files or arrays are not named by their utterance; else None.
    """

    path: Path
    array: str = ""
    ids: str = "utterance"
    names: Path | None = None


@dataclass(frozen=True)
class About:
    """The provenance, which the arrays do not contain; `rate` is in frames per second.

    `saw` is the `weights_saw` of the cache: what the weights were fitted to, or None if that is not known.
    """

    stream: str
    modality: str
    corpus: str
    licence: str
    encoder: str
    frames: str = "none"
    rate: float | None = None
    saw: dict[str, Any] | None = None


def import_features(
    source: Source, about: About, table: Sequence[Utterance], to: Path, partial: bool
) -> list[str]:
    """Write a cache and return notes for the user: missing and extra ids, if `partial` allows them.

    Args:
        source: the arrays.
        about: their provenance.
        table: the table of utterances.
        to: the cache to write.
        partial: whether ids may be missing or unknown.

    Raises:
        UserError: if ids do not match, no array is readable, or shapes differ.
    """
    utterances = [u.utterance for u in table]
    arrays = _arrays(source, about, table)
    notes = _check_ids(arrays.found, utterances, source.path, partial)
    meta = _meta(about, *_dims(arrays, utterances, about))
    write(to, meta, utterances, _rows(arrays, about, utterances))
    return notes


def _arrays(source: Source, about: About, table: Sequence[Utterance]) -> Arrays:
    path, kind = source.path, source.path.suffix.lower()
    if kind == ".csd":
        return Entries(path, table)
    if kind == ".pkl":
        return Clips(path, source.array or MMSA.get(about.modality, about.modality))
    if kind == ".parquet" or (path.is_dir() and folders.files(path, ".parquet")):
        return Columns(path, source.array, about.frames != "none")
    named = _namer(source.names, [u.utterance for u in table])
    if path.is_file():
        return one_npz.read(path, source.array, source.ids, named)
    return _Folder(source, named)


class _Folder:
    """One file per utterance, at any depth; the id is the relative path without suffix."""

    def __init__(self, source: Source, named: Callable[[str], str]) -> None:
        if not source.path.is_dir():
            raise UserError(f"{source.path}: no such file or folder; correct the path")
        self.source = source
        self.paths: dict[str, Path] = {}
        for path in folders.files(source.path, ".npy", ".npz"):
            utterance = named(path.relative_to(source.path).as_posix())
            if utterance in self.paths:
                raise UserError(
                    f"{path}: duplicate file of utterance {utterance}; first is {self.paths[utterance]}; keep one"
                )
            self.paths[utterance] = path
        self.found = set(self.paths)

    def load(self, utterance: str) -> Loaded:
        path = self.paths[utterance]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ArrayError(f"{path.name}: cannot be read: {error.strerror}") from None
        key = hashlib.sha256(data).hexdigest()
        if path.suffix.lower() == ".npy":
            return Loaded(key, read_npy(data, path.name))
        npz = Npz(data, path.name)
        name = self.source.array or (npz.names[0] if len(npz.names) == 1 else "")
        if not name:
            raise UserError(f"{path}: contains {listed(npz.names) or 'no arrays'}; choose one with --array")
        return Loaded(key, npz[name])


def _rows(arrays: Arrays, about: About, utterances: Sequence[str]) -> Iterator[Row]:
    for utterance in utterances:
        if utterance in arrays.found:
            yield _row(arrays, about, utterance)
        else:
            yield Row("", "missing_file", "not in the import")


def _row(arrays: Arrays, about: About, utterance: str) -> Row:
    try:
        key, array, times, pooled, remark = arrays.load(utterance)
    except ArrayError as error:
        return Row("", error.status, str(error))
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        return Row(
            key, "corrupt", f"an array {array.shape} of {array.dtype}; expected numbers, [P] or [T, D]"
        )
    if array.size == 0:
        return Row(key, "too_short", "no frames in the file")
    if not np.isfinite(array).all():
        return Row(key, "failed", "values that are not finite")
    if not array.any():
        # Many tools write zeros on failure; training would use them as features.
        return Row(key, "failed", "all values are 0")
    frames = np.atleast_2d(array)
    pooled = frames.mean(axis=0, dtype=np.float64) if pooled is None else pooled
    if np.abs(pooled).max() > LARGEST or (
        about.frames != "none" and np.abs(frames).max() > MOST[about.frames]
    ):
        return Row(key, "failed", "values beyond what the cache's floats can hold")
    if about.frames == "none":
        return Row(key, "ok", remark, pooled)
    if times is None:
        if len(frames) > 1 and not about.rate:
            raise UserError(
                f"utterance {utterance}: {len(frames)} frames without a rate; give it with --rate HZ"
            )
        times = np.arange(len(frames)) / (about.rate or 1.0)
    return Row(key, "ok", remark, pooled, frames, times)


def _dims(arrays: Arrays, utterances: Sequence[str], about: About) -> tuple[int, int]:
    """Return the lengths of the pooled vectors and of the frames, which are 0 if there are none."""
    reasons = []
    for utterance in utterances:
        if utterance in arrays.found:
            row = _row(arrays, about, utterance)
            if row.pooled is not None:
                return len(row.pooled), 0 if row.frames is None else row.frames.shape[1]
            reasons.append(f"{utterance}: {row.error}")
    raise UserError(
        "nothing to import: no utterance has a usable array; correct these files:\n  "
        + listed(reasons, "\n  ")
    )


def _meta(about: About, pooled_dim: int, frames_dim: int) -> Meta:
    encoder = {"encoder": "imported", "note": about.encoder, "frames": about.frames, "rate": about.rate}
    weights = {"name": "", "revision": "", "sha256": ""}
    provenance = schema.canonical_json({"encoder": encoder, "weights": weights, "packages": {}, "code": ""})
    return Meta(
        stream=about.stream,
        modality=about.modality,
        corpus=about.corpus,
        licence=about.licence,
        encoder=encoder,
        weights=weights,
        weights_saw=about.saw,
        packages={},
        code="",
        fingerprint=hashlib.sha256(provenance.encode()).hexdigest(),
        pooled_dim=pooled_dim,
        frames_dim=frames_dim,
        frames=about.frames,
    )


def _check_ids(found: set[str], utterances: Sequence[str], path: Path, partial: bool) -> list[str]:
    missing, extra = sorted(set(utterances) - found), sorted(found - set(utterances))
    notes = []
    if missing:
        notes.append(f"{len(missing)} of {len(utterances)} utterances are not in {path}: {_names(missing)}")
    if extra:
        notes.append(f"{len(extra)} in {path} are not in the table of utterances: {_names(extra)}")
    if len(missing) == len(utterances) or (notes and not partial):
        hint = "map the names with --names CSV (columns file,utterance)"
        raise UserError(
            "\n".join(notes) + f"\n{hint}" + ("" if partial else ", or accept this with --partial")
        )
    return notes


def _namer(path: Path | None, utterances: Sequence[str]) -> Callable[[str], str]:
    """Return a function from the name of a file or array to its utterance, by the csv at `path` if there is one."""
    names = _read_names(path) if path else None
    known = {normalize("NFC", utterance): utterance for utterance in utterances}

    def named(file: str) -> str:
        stem = _stem(file)
        name = stem if names is None else names.get(stem, f"{stem} (not in {path})")
        return known.get(normalize("NFC", name), name)

    return named


def _read_names(path: Path) -> dict[str, str]:
    rows = raw.csv_rows(path, ("file", "utterance"))
    return {_stem(raw.media_path(row["file"])): row["utterance"] for _, row in rows}


def _stem(file: str) -> str:
    """Return a file's path without its suffix, in Unicode form NFC, in which names are compared."""
    return normalize("NFC", re.sub(r"\.np[yz]$", "", file, flags=re.IGNORECASE))


def _names(names: Sequence[str]) -> str:
    return listed(map(schema.one_line, names))
