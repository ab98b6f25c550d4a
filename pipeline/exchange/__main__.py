"""Write the tables and some streams together, in the layout of another tool.

    python -m pipeline.exchange datasets data/features/text.h5 data/features/face.h5 --to FOLDER
    python -m pipeline.exchange mmsa data/features/text.h5 data/features/face.h5 --to FILE.pkl

`datasets` writes a folder for Hugging Face `datasets` and its hub, `mmsa` a pickle for MMSA. The tables are
data/utterances.csv and data/labels.csv. `python -m pipeline.features import` reads the streams back.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.exchange import datasets, mmsa
from pipeline.exchange.corpus import Corpus
from pipeline.features import FeatureCache
from pipeline.params import sections
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import UTTERANCES, read_utterances
from pipeline.tables.target import target_of

LAYOUTS = {"datasets": datasets.write, "mmsa": mmsa.write}


def main() -> None:
    """Run `python -m pipeline.exchange`."""
    words = parser("pipeline.exchange", __doc__)
    words.add_argument("layout", choices=LAYOUTS)
    words.add_argument("file", type=Path, nargs="+", help="a feature file")
    words.add_argument("--to", type=Path, required=True, help="the folder or file to write")
    asked, params = words.parse_args(), sections().corpus
    if asked.to.exists():
        raise UserError(f"{asked.to}: exists; move it, or choose another name with --to")
    utterances = read_utterances()
    labels = read_labels(utterances, target_of(params))
    with ExitStack() as opened:
        streams: dict[str, FeatureCache] = {}
        for path in asked.file:
            cache = opened.enter_context(FeatureCache(path))
            if cache.utterances != [u.utterance for u in utterances]:
                raise UserError(f"{path}: its utterances are not those of {UTTERANCES}; run `dvc repro`")
            if streams.setdefault(cache.meta.stream, cache) is not cache:
                raise UserError(
                    f"{path}: second file of stream {cache.meta.stream}; name one file per stream"
                )
        LAYOUTS[asked.layout](asked.to, Corpus(params, utterances, labels, streams))
    print(asked.to)


if __name__ == "__main__":
    entry(main)
