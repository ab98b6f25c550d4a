"""Run stage `prepare`: import a raw corpus into data/utterances.csv and data/labels.csv.

    python -m pipeline.prepare           # write both tables; if a row is invalid, write neither
    python -m pipeline.prepare --check   # check the corpus before hours of extraction; write nothing
    python -m pipeline.prepare --check --listen     # also compare the words in the sound with the text
    python -m pipeline.prepare --card FILE.md    # describe the prepared corpus: FILE.md for people, FILE.json

Extraction reads only utterances.csv. Media are hashed here, so that a changed clip causes only its own item to be
extracted again. A missing clip keeps its path and has no hash; streams that need it give the status `missing_file`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd

from pipeline import fragments
from pipeline.command import parser
from pipeline.corpora import REGISTRY, raw
from pipeline.disk import replacing
from pipeline.env import media_root
from pipeline.errors import UserError, entry
from pipeline.inputs import Inputs
from pipeline.locks import alone
from pipeline.params import CorpusParams, sections
from pipeline.tables import schema as tables
from pipeline.tables.labels import read_labels
from pipeline.tables.target import target_of


def prepare(
    corpus: CorpusParams, utterances_path: Path = tables.UTTERANCES, labels_path: Path = tables.LABELS
) -> str:
    """Write both tables and return a summary; on an error, neither file changes.

    Args:
        corpus: the corpus section of params.yaml.
        utterances_path: the table of utterances to write.
        labels_path: the table of labels to write.

    Raises:
        UserError: if the corpus is unknown, annotation files are missing, or rows are invalid; one message lists all
            rows.
    """
    utterances, labels = read(corpus)
    add_hashes(utterances, media_root(corpus.root))
    with alone("prepare"), replacing(utterances_path) as drafted, replacing(labels_path) as labelled:
        tables.write_utterances(utterances, drafted)
        tables.write_table(labels, (*tables.LABEL_COLUMNS, *corpus.values), labelled)
        # A crash between the two replacements leaves one new table. DVC then repeats the failed stage.
        read_labels(tables.read_utterances(drafted), target_of(corpus), labelled)
    return _summary(corpus, utterances, labels)


def module(corpus: CorpusParams) -> ModuleType:
    """Return the importer module of `corpus.name`.

    Raises:
        UserError: if the name is unknown.
    """
    if corpus.name not in REGISTRY:
        raise UserError(f"corpus.name={corpus.name!r}: unknown corpus; choose one of {', '.join(REGISTRY)}")
    return import_module(REGISTRY[corpus.name])


def read(corpus: CorpusParams) -> raw.Tables:
    """Return the corpus's tables without hashes; read from EMOFUSE_MEDIA if corpus.root has no annotation files.

    Raises:
        UserError: if the corpus is unknown, annotation files are missing, or rows are invalid.
    """
    missing = []
    for root in dict.fromkeys((Path(corpus.root), media_root(corpus.root))):
        try:
            found: raw.Tables = module(corpus).read(root, corpus)
            return found
        except raw.NoAnnotation as error:
            missing.append(str(error))
    raise UserError("; ".join(missing) + "; set corpus.root or EMOFUSE_MEDIA to the corpus's folder")


def add_hashes(utterances: pd.DataFrame, root: Path) -> None:
    """Add the columns `media_hash` and `audio_hash`.

    Raises:
        UserError: if a file exists but cannot be read.
    """
    digests = hash_media([*utterances["media"], *utterances["audio"]], root)
    for field in ("media", "audio"):
        utterances[f"{field}_hash"] = utterances[field].map(digests)


def hash_media(media: Iterable[str], root: Path) -> dict[str, str]:
    """Return {cell: sha256 (hex) of its file}; empty if there is no regular file. Each file is read once.

    Raises:
        UserError: if a file exists but cannot be read.
    """
    files = {cell: root / fragments.split(cell).file for cell in media}
    unique = list(dict.fromkeys(files.values()))
    # Threads suffice: hashing and reading release the GIL.
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(unique, pool.map(_sha256, unique), strict=True))
    return {cell: digests[path] for cell, path in files.items()}


def _sha256(path: Path) -> str:
    try:
        # Reading a named pipe could block forever; an empty cell gives the folder itself.
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None


def _summary(corpus: CorpusParams, utterances: pd.DataFrame, labels: pd.DataFrame) -> str:
    counts = labels["split"].value_counts()
    files = {
        fragments.split(cell).file: digest
        for field in ("media", "audio")
        for cell, digest in zip(utterances[field], utterances[f"{field}_hash"], strict=True)
        if cell
    }
    lost = [file for file, digest in files.items() if not digest]
    lines = [
        f"{corpus.name}: {len(utterances):,} utterances in {utterances['dialogue'].nunique():,} dialogues ("
        + ", ".join(f"{split} {counts.get(split, 0):,}" for split in tables.SPLITS)
        + f"); {len(files) - len(lost):,} of {len(files):,} media found"
    ]
    if lost:
        lines.append(
            f"not found under {media_root(corpus.root)}: {', '.join(lost[:3])}{', …' * (len(lost) > 3)}; "
            "their status in streams will be missing_file; when the files exist, run `dvc repro --force prepare`"
        )
    if empty := int((utterances["text"].str.strip() == "").sum()):
        lines.append(f"{empty:,} utterances have no text; their status in text streams will be no_text")
    return "\n  ".join(lines + notes(corpus))


def notes(corpus: CorpusParams) -> list[str]:
    """Return the importer's notes on the corpus's counts; empty if the importer has none."""
    found = getattr(module(corpus), "notes", None)
    return found(corpus) if found else []


def main() -> None:
    """Run `python -m pipeline.prepare`."""
    words = parser("pipeline.prepare", __doc__)
    modes = words.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="report on the corpus and write nothing")
    modes.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="write a datasheet of the prepared tables, and FILE's .json beside it",
    )
    words.add_argument(
        "--listen", action="store_true", help="with --check: list utterances whose sound has other words"
    )
    asked, params = words.parse_args(), sections()
    if asked.listen and not asked.check:
        words.error("--listen needs --check")
    if asked.check:
        from pipeline.check import report

        print(report(params.corpus, params.train.streams.visual != "none", asked.listen))
    elif asked.card:
        from pipeline import datasheet

        utterances = tables.read_utterances()
        labels = read_labels(utterances, target_of(params.corpus))
        print(
            *datasheet.write(asked.card, params.corpus, module(params.corpus), utterances, labels), sep="\n"
        )
    else:
        inputs = Inputs(
            [
                f"corpus.{key}"
                for key in (
                    "keep_tags",
                    "labels",
                    "name",
                    "root",
                    "split_seed",
                    "target",
                    "transcribe",
                    "values",
                )
            ],
            [Path(params.corpus.watch)],
        )
        summary = prepare(sections().corpus)
        inputs.check([tables.UTTERANCES, tables.LABELS])
        print(summary)


if __name__ == "__main__":
    entry(main)
