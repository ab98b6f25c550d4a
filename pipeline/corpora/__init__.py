"""Importers of raw corpora: one module for each layout on disk.

Each module has one function, which passes its rows through `raw.tables`:

    read(root, corpus) -> (utterances, labels)

It may also have `published(corpus)`, the published counts as {split: {emotion: utterances}}; `notes(corpus)`, sentences
on these counts; and, for the datasheet, the constants `LANGUAGES` and `FAULTS`.

To add a corpus, add a module here and a line in REGISTRY, which maps `corpus.name` to the module.
"""

from __future__ import annotations

REGISTRY = {
    "demo": "pipeline.corpora.demo",
    "meld": "pipeline.corpora.meld",
    "iemocap": "pipeline.corpora.iemocap",
    "scp": "pipeline.corpora.scp",
    "csv": "pipeline.corpora.csv",
    "subtitles": "pipeline.corpora.subtitles",
    "emorynlp": "pipeline.corpora.emorynlp",
    "dailydialog": "pipeline.corpora.dailydialog",
    "ravdess": "pipeline.corpora.ravdess",
    "emodb": "pipeline.corpora.emodb",
    "mer": "pipeline.corpora.mer",
    "emobox": "pipeline.corpora.emobox",
    "cremad": "pipeline.corpora.cremad",
    "m3ed": "pipeline.corpora.m3ed",
    "mmsa": "pipeline.corpora.mmsa",
    "mmsa_pickle": "pipeline.corpora.mmsa_pickle",
    "mosei": "pipeline.corpora.mosei",
    "recordings": "pipeline.corpora.recordings",
}
