"""Feature caches: one HDF5 file per stream, with its writer, reader and checks.

    python -m pipeline.features info FILE          # content and provenance
    python -m pipeline.features verify FILE        # structure, checksums, digest
    python -m pipeline.features diff A B           # utterances that differ, and by how much
    python -m pipeline.features export FILE --to npz|csv|parquet|csd
    python -m pipeline.features import FOLDER …    # arrays from other tools

`schema` defines the file, `writer` writes it, `structure` checks it, and `cache` reads it.
"""

from __future__ import annotations

from pipeline.features.cache import FeatureCache
from pipeline.features.schema import STATUSES, CacheError, Meta, Row
from pipeline.features.writer import write

__all__ = ["STATUSES", "CacheError", "FeatureCache", "Meta", "Row", "write"]
