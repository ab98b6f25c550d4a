"""Feature caches: one HDF5 file per stream, its writer, reader and checker.

    python -m pipeline.features info FILE          # what is inside and where it comes from
    python -m pipeline.features verify FILE        # structure, checksums, digest
    python -m pipeline.features diff A B           # which utterances differ, by how much
    python -m pipeline.features export FILE --to npz|csv
    python -m pipeline.features import FOLDER …    # arrays made elsewhere

`schema` says what a file holds, `writer` writes it, `structure` distrusts it, `cache` reads it.
"""

from __future__ import annotations

from pipeline.features.cache import FeatureCache
from pipeline.features.schema import STATUSES, CacheError, Meta, Row
from pipeline.features.writer import write

__all__ = ["STATUSES", "CacheError", "FeatureCache", "Meta", "Row", "write"]
