"""Raw corpora → the two tables. One module per layout that people have on disk, each with

    read(root, corpus) -> (utterances, labels)     # what raw.tables makes of its rows

A new corpus is one file here and one line in REGISTRY (name in `corpus.name` → module).
"""

from __future__ import annotations

REGISTRY = {
    "demo": "pipeline.corpora.demo",
    "meld": "pipeline.corpora.meld",
    "iemocap": "pipeline.corpora.iemocap",
    "scp": "pipeline.corpora.scp",
    "csv": "pipeline.corpora.csv",
    "subtitles": "pipeline.corpora.subtitles",
}
