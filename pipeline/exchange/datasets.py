"""Write a folder that Hugging Face `datasets` loads: `load_dataset("FOLDER")`.

    FOLDER/README.md                        the splits' files as YAML, then the corpus's datasheet
    FOLDER/data/train-00000-of-00001.parquet     also validation and test: one row per utterance

The columns are those of utterances.csv without media, `emotion` and the numbers of labels.csv, and for each stream
STREAM_status, STREAM_error, STREAM_pooled and, if it has frames, STREAM_frames and STREAM_times.
https://huggingface.co/docs/hub/datasets-manual-configuration
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import datasheet
from pipeline.disk import replacing, write_text
from pipeline.exchange.corpus import Corpus
from pipeline.features import parquet, schema
from pipeline.prepare import module

SPLITS = {"train": "train", "val": "validation", "test": "test"}  # our name → the hub's
TABLE = {
    "utterance": pa.string(),
    "dialogue": pa.string(),
    "turn": pa.int64(),
    "speaker": pa.string(),
    "session": pa.string(),
    "text": pa.string(),
    "start": pa.float64(),
    "end": pa.float64(),
}


def write(to: Path, corpus: Corpus) -> None:
    """Write the folder; a split without utterances has no file.

    Raises:
        CacheError: if a stream is damaged.
        UserError: if a file cannot be written.
    """
    os.makedirs(to / "data")
    splits = [split for split in SPLITS if corpus.rows(split)]
    for split in splits:
        _split(to / "data" / f"{SPLITS[split]}-00000-of-00001.parquet", corpus, corpus.rows(split))
    write_text(to / "README.md", _readme(corpus, splits))


def _split(path: Path, corpus: Corpus, rows: Sequence[int]) -> None:
    values = corpus.params.values
    kinds = [*TABLE.items(), ("emotion", pa.string()), *((name, pa.float64()) for name in values)]
    about = {}
    for name, cache in corpus.streams.items():
        kinds += parquet.columns(cache, f"{name}_")
        about[f"{name}_about"] = schema.canonical_json(cache.about())
    shape = pa.schema(kinds, metadata=about)
    pooled = {name: cache.pooled() for name, cache in corpus.streams.items()}
    with replacing(path) as part, pq.ParquetWriter(part, shape) as file:
        for start in range(0, len(rows), parquet.ROW_GROUP):
            chosen = rows[start : start + parquet.ROW_GROUP]
            arrays = [
                pa.array([getattr(corpus.utterances[i], name) for i in chosen], kind)
                for name, kind in TABLE.items()
            ]
            table = corpus.labels.iloc[chosen]
            arrays.append(pa.array(list(table["emotion"]), pa.string()))
            # An unrated utterance is null instead of NaN.
            arrays += [pa.array(table[name].to_numpy(), pa.float64(), from_pandas=True) for name in values]
            for name, cache in corpus.streams.items():
                arrays += parquet.block(cache, pooled[name], chosen)
            file.write_table(pa.Table.from_arrays(arrays, schema=shape))


def _readme(corpus: Corpus, splits: Sequence[str]) -> str:
    # JSON strings are YAML strings.
    files = "".join(f"      - split: {SPLITS[s]}\n        path: data/{SPLITS[s]}-*.parquet\n" for s in splits)
    head = (
        "---\n"
        f"pretty_name: {json.dumps(corpus.params.title or corpus.params.name)}\n"
        "license: other\n"
        f"license_name: {json.dumps(corpus.params.licence or 'unknown')}\n"
        f"configs:\n  - config_name: default\n    data_files:\n{files}"
        "---\n\n"
    )
    importer = module(corpus.params)
    return head + datasheet.markdown(
        datasheet.facts(corpus.params, importer, corpus.utterances, corpus.labels)
    )
