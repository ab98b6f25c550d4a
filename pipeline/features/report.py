"""Describe a cache, and the differences between two caches, as text."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.features import schema
from pipeline.features.cache import FeatureCache
from pipeline.features.schema import STATUSES
from pipeline.messages import listed

REASONS = 5


def info(cache: FeatureCache) -> str:
    """Return a description of a cache: content, provenance, and missing features with their reasons."""
    meta, rows = cache.meta, len(cache)
    lines = [
        ("file", f"{cache.path} ({cache.path.stat().st_size:,} bytes)"),
        ("stream", f"{meta.stream} ({meta.modality})"),
        ("corpus", meta.corpus),
        ("licence", meta.licence or "not stated"),
        ("rows", f"{rows}: " + (", ".join(f"{k} {v}" for k, v in cache.counts().items()) or "none")),
        ("pooled", f"[{rows}, {meta.pooled_dim}] f4{_names(meta.pooled_names)}"),
        ("frames", _frames(cache)),
        *((f"encoder.{key}", _value(value)) for key, value in meta.encoder.items()),
        *((f"weights.{key}", value or "none") for key, value in meta.weights.items()),
        ("weights saw", _saw(meta)),
        ("packages", ", ".join(f"{name} {version}" for name, version in meta.packages.items()) or "none"),
        ("code", meta.code or "none"),
        ("fingerprint", meta.fingerprint),
        ("rows_hash", cache.rows_hash),
        ("digest", cache.digest),
    ]
    width = max(len(schema.one_line(name)) for name, _ in lines)
    text = [f"{schema.one_line(name):<{width}}  {schema.one_line(value)}" for name, value in lines]
    reasons = Counter(
        (STATUSES[code], error)
        for code, error in zip(cache.status.tolist(), cache.errors, strict=True)
        if error
    )
    if reasons:
        text.append("remarks, most frequent first")
        text += [f"  {count} × {status}: {error}" for (status, error), count in reasons.most_common(REASONS)]
        text += [f"  and {len(reasons) - REASONS} others"] * (len(reasons) > REASONS)
    return "\n".join(text)


@dataclass(frozen=True)
class Difference:
    """An utterance that differs: `size` is the largest |a − b|, inf if statuses or shapes differ."""

    utterance: str
    size: float
    what: str


def diff(a: FeatureCache, b: FeatureCache) -> str:
    """Return the differences in provenance, rows and values as text; empty if there are none.

    Raises:
        CacheError: if one of the files is damaged.
    """
    text = [f"{name}: {_value(x)} | {_value(y)}" for name, x, y in _about_pairs(a, b) if x != y]
    here, there = set(a.utterances), set(b.utterances)
    for path, only in ((a.path, here - there), (b.path, there - here)):
        if only:
            text.append(f"only in {path}: {listed(sorted(only))}")
    if here == there and a.utterances != b.utterances:
        text.append("the rows are in a different order")
    found = _differences(a, b)
    if found:
        both, largest = len(here & there), max(d.size for d in found)
        text.append(f"{len(found)} of {both} common utterances differ, by at most {largest:g}")
        by_size = sorted(found, key=lambda d: -d.size)
        text.append("  " + listed((f"{d.utterance}: {d.what}" for d in by_size), "\n  "))
    return "\n".join(text)


def _differences(a: FeatureCache, b: FeatureCache) -> list[Difference]:
    pooled = (a.pooled(), b.pooled())
    row_of = {utterance: j for j, utterance in enumerate(b.utterances)}
    pairs = [(i, row_of[utterance]) for i, utterance in enumerate(a.utterances) if utterance in row_of]
    found = []
    for i, j in pairs:
        if a.status[i] != b.status[j]:
            what, size = f"status {STATUSES[a.status[i]]} | {STATUSES[b.status[j]]}", np.inf
        elif a.status[i] != schema.OK:
            continue
        else:
            sizes = {"pooled": _largest(pooled[0][i], pooled[1][j])}
            if a.has_frames and b.has_frames:
                sizes["frames"] = _largest(a.frames(i), b.frames(j))
                sizes["times"] = _largest(a.times(i), b.times(j))
            size = max(sizes.values())
            what = ", ".join(f"{name} by {s:g}" for name, s in sizes.items() if s)
        if size:
            found.append(
                Difference(a.utterances[i], float(size), what.replace("by inf", "has a different shape"))
            )
    return found


def _largest(x: np.ndarray, y: np.ndarray) -> float:
    if x.shape != y.shape:
        return np.inf
    return float(np.abs(x.astype(np.float64) - y).max(initial=0.0))


def _about_pairs(a: FeatureCache, b: FeatureCache) -> list[tuple[str, Any, Any]]:
    return [
        (field.name, getattr(a.meta, field.name), getattr(b.meta, field.name))
        for field in dataclasses.fields(a.meta)
    ]


def _saw(meta: schema.Meta) -> str:
    if meta.weights_saw:
        return _value(meta.weights_saw)
    # Another tool made features without code, and may have used weights that were fitted to this corpus.
    return "no fine-tuning recorded" if meta.code else "not known"


def _frames(cache: FeatureCache) -> str:
    if cache.offsets is None:
        return "not stored"
    total, ok = int(cache.offsets[-1]), max(1, cache.counts().get("ok", 0))
    meta = cache.meta
    return f"[{total}, {meta.frames_dim}] {meta.frames}, {total / ok:.1f} per utterance{_names(meta.frames_names)}"


def _names(names: tuple[str, ...]) -> str:
    return f": {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" if names else ""


def _value(value: Any) -> str:
    return schema.one_line(value if isinstance(value, str) else schema.canonical_json(value))
