"""Write a pickle in MMSA's layout (pipeline/corpora/pickles/mmsa.py), without code and without the field text_bert.

    id [N], raw_text [N], regression_labels [N]             an utterance without a number is left out
    text, audio, vision [N, L, D], *_lengths [N]            frames, or one pooled vector where a stream has no frames

`regression_labels` is the value `sentiment`, or the first of `corpus.values`. The values sentiment_text,
sentiment_audio and sentiment_visual become regression_labels_T, _A and _V. An utterance without features has one frame
of zeros. The pickle has protocol 4 and holds dicts, lists, strings and plain numpy arrays; programs need NumPy 1.26 or
later to read it. MMSA reads it with `use_bert: false`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpora.mmsa import VALUES
from pipeline.corpora.mmsa_pickle import FIELDS
from pipeline.corpora.pickles.mmsa import BETWEEN
from pipeline.disk import replacing
from pipeline.errors import UserError
from pipeline.exchange.corpus import Corpus
from pipeline.features import FeatureCache

PROTOCOL = 4
PARTS = {"train": "train", "val": "valid", "test": "test"}  # our split → MMSA's
MODALITIES = {"text": "text", "audio": "audio", "visual": "vision"}  # our modality → MMSA's field


def write(to: Path, corpus: Corpus) -> None:
    """Write the pickle.

    Raises:
        CacheError: if a stream is damaged.
        UserError: if `corpus.target` is not `values`, two streams have one modality, or the file cannot be written.
    """
    if corpus.params.target != "values":
        raise UserError(
            f"corpus.target={corpus.params.target}: MMSA's pickles hold a number per utterance, which needs "
            "corpus.target=values; use the layout `datasets` instead"
        )
    fields: dict[str, FeatureCache] = {}
    for name, cache in corpus.streams.items():
        if fields.setdefault(MODALITIES[cache.meta.modality], cache) is not cache:
            raise UserError(
                f"{cache.path}: stream {name}: second stream of {cache.meta.modality}; name one file per modality"
            )
    features = {field: _frames(cache) for field, cache in fields.items()}
    numbers = _numbers(corpus)
    rated = np.flatnonzero(~np.isnan(numbers["regression_labels"]))
    parts: dict[str, dict[str, Any]] = {}
    for split, part in PARTS.items():
        rows = np.intersect1d(corpus.rows(split), rated)
        parts[part] = {
            "id": [_id(corpus.utterances[i].utterance) for i in rows],
            "raw_text": [corpus.utterances[i].text for i in rows],
            **{field: values[rows] for field, values in numbers.items()},
        }
        for field, frames in features.items():
            parts[part][field] = _padded([frames[i] for i in rows], max(map(len, frames)), frames[0].shape[1])
            parts[part][f"{field}_lengths"] = [len(frames[i]) for i in rows]
    with replacing(to) as drafted, drafted.open("wb") as file:
        pickle.dump(parts, file, PROTOCOL)


def _numbers(corpus: Corpus) -> dict[str, np.ndarray]:
    """Return {field: [N] f4}, NaN where an utterance has no number."""
    values = corpus.params.values
    columns = {FIELDS[VALUES[name]]: name for name in values if name in VALUES}
    columns.setdefault("regression_labels", values[0])
    return {field: corpus.labels[name].to_numpy(np.float32) for field, name in columns.items()}


def _frames(cache: FeatureCache) -> list[np.ndarray]:
    """Return each utterance's frames [T, D] f4, T ≥ 1."""
    if not cache.has_frames:
        return list(np.nan_to_num(cache.pooled())[:, None])
    found = (cache.frames(i).astype(np.float32) for i in range(len(cache)))
    return [frames if len(frames) else np.zeros((1, frames.shape[1]), np.float32) for frames in found]


def _padded(frames: Sequence[np.ndarray], length: int, dim: int) -> np.ndarray:
    """Return frames [T, D] with zeros behind them, [N, L, D]."""
    found = np.zeros((len(frames), length, dim), np.float32)
    for row, one in zip(found, frames, strict=True):
        row[: len(one)] = one
    return found


def _id(utterance: str) -> str:
    video, between, clip = utterance.rpartition("_")
    return f"{video}{BETWEEN}{clip}" if between else utterance
