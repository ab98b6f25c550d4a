"""How far an utterance's features are from those of training: a flag for input that the model has not learned.

In each stream, the distance is the root mean square of what the principal components of the train split leave of an
utterance's normalised features. It notices unusual combinations of features as well as unusually large ones. Its
square, times the number of features, is the statistic Q of Jackson and Mudholkar, "Control Procedures for Residuals
Associated With Principal Component Analysis", Technometrics 21(3), 1979. Q's limit there assumes normal features; a
threshold here is a quantile over val.

    models/seedN/distance.safetensors   the region of each stream: MODALITY.mean [D], MODALITY.components [K, D]

The thresholds and the sha256 of this file are in model.json (train/record.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.errors import UserError
from train.checkpoint import read_sealed, sha256, write_weights
from train.data.corpus import Corpus, Stream
from train.record import Record

FILE = "distance.safetensors"
# The share of utterances like those of training that all streams together flag.
FALSE = 0.05
# The share of the variance that the components explain.
EXPLAINED = 0.99
# The smallest threshold, in standard deviations: if some features are sums of others, only rounding is left of them.
LEAST = 1e-3
ROWS = 1024


@dataclass(frozen=True)
class Region:
    """The region of a stream's features in training.

    Attributes:
        mean: [D] float32, of the train split's normalised features.
        components: [K, D] float32, orthonormal, K < D.
        limit: the distance above which an utterance is far.
    """

    mean: np.ndarray
    components: np.ndarray
    limit: float

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the distance, [N] f8, of each normalised feature, [N, D] f8."""
        centred = features - self.mean
        components = self.components.astype(np.float64)
        rest = centred - centred @ components.T @ components
        found: np.ndarray = np.sqrt((rest**2).mean(1))
        return found


def fit(data: Corpus) -> dict[str, Region]:
    """Return {modality: the region of training}, without streams that the train or the val split lacks.

    Each stream flags an equal part of FALSE of val.
    """
    found = {}
    for modality, stream in data.streams.items():
        train, val = (stream.available() & (data.split == split) for split in ("train", "val"))
        if not train.any() or not val.any():
            continue
        region = Region(*_components(stream, train), limit=np.inf)
        known = np.concatenate([region.distances(x) for _, x in _blocks(stream, val)])
        limit = float(np.quantile(known, 1 - FALSE / len(data.streams)))
        found[modality] = replace(region, limit=max(limit, LEAST))
    return found


def far(data: Corpus, regions: Mapping[str, Region]) -> dict[str, np.ndarray]:
    """Return {modality: [N] bool, whether each utterance is farther than its limit}; a missing feature is not."""
    found = {}
    for modality, region in regions.items():
        stream = data.streams[modality]
        found[modality] = np.zeros(len(data.split), bool)
        for rows, x in _blocks(stream, stream.available()):
            found[modality][rows] = region.distances(x) > region.limit
    return found


def write(folder: Path, regions: Mapping[str, Region]) -> str:
    """Write the regions' file into a model's folder and return its sha256; without regions, remove it and return ""."""
    path = folder / FILE
    if not regions:
        path.unlink(missing_ok=True)
        return ""
    parts = {
        f"{modality}.{part}": torch.from_numpy(getattr(region, part))
        for modality, region in regions.items()
        for part in ("mean", "components")
    }
    write_weights(path, parts)
    return sha256(path)


def read(folder: Path, record: Record) -> dict[str, Region]:
    """Return the regions of a model's folder; none for a record without the sha256 of their file.

    Raises:
        UserError: the file is missing or damaged, or does not fit the record.
    """
    if not record.distance:
        return {}
    path = folder / FILE
    found = read_sealed(path, record.distance)
    wanted = {f"{modality}.{part}" for modality in record.far for part in ("mean", "components")}
    if differ := sorted(wanted ^ set(found)):
        raise _misfit(path, f"{differ[0][:80]}: {'missing' if differ[0] in wanted else 'unknown'}")
    regions = {}
    for modality, limit in record.far.items():
        mean, components = found[f"{modality}.mean"], found[f"{modality}.components"]
        size = record.dims[modality]
        for name, value, fits in (
            ("mean", mean, mean.shape == (size,)),
            ("components", components, components.shape[1:] == (size,) and len(components) < size),
        ):
            if not fits or value.dtype != torch.float32:
                kind = f"{value.dtype} of shape {tuple(value.shape)}"
                raise _misfit(path, f"{modality}.{name}: {kind}, but the stream has {size} features")
        regions[modality] = Region(mean.numpy(), components.numpy(), limit)
    return regions


def _blocks(stream: Stream, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (row numbers [n], their normalised features [n, D] f8) of the wanted rows, [N] bool."""
    rows = np.flatnonzero(wanted)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        yield part, stream.vectors(part)


def _components(stream: Stream, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [D] and the principal components [K, D], both float32, of some rows' features.

    K is the smallest number of components that explain EXPLAINED, but less than D.
    """
    count = int(wanted.sum())
    if count < stream.dim:
        # The decomposition of the covariance, [D, D], takes a minute for openSMILE's 6,373 features.
        x = np.concatenate([x for _, x in _blocks(stream, wanted)])
        mean = x.mean(0)
        _, lengths, axes = np.linalg.svd(x - mean, full_matrices=False)
        variances = lengths**2 / count
    else:
        total, products = np.zeros(stream.dim), np.zeros((stream.dim, stream.dim))
        for _, x in _blocks(stream, wanted):
            total += x.sum(0)
            products += x.T @ x
        mean = total / count
        variances, columns = np.linalg.eigh(products / count - np.outer(mean, mean))
        variances, axes = variances[::-1].clip(min=0), columns.T[::-1]
    explained = np.cumsum(variances)
    needed = int(np.searchsorted(explained, EXPLAINED * explained[-1])) + 1 if explained[-1] else 0
    axes = axes[: min(needed, stream.dim - 1)]
    # The sign of an axis is arbitrary: its largest entry is made positive.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return mean.astype(np.float32), (axes * np.sign(largest)).astype(np.float32)


def _misfit(path: Path, why: str) -> UserError:
    return UserError(f"{path}: does not fit model.json: {why}; run `dvc repro --force train`")
