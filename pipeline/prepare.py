"""Stage `prepare`: a raw corpus → data/utterances.csv (all that extraction reads) and data/labels.csv.

    python -m pipeline.prepare           # write both tables, or neither and say why
    python -m pipeline.prepare --check   # report on the corpus before hours of extraction; writes nothing

Media are hashed here, so that a changed clip changes its own item and nothing else is extracted again. A clip
that is not there keeps its path and has no hash; the streams that need it say `missing_file`.
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


def prepare(
    corpus: CorpusParams, utterances_path: Path = tables.UTTERANCES, labels_path: Path = tables.LABELS
) -> str:
    """Write both tables and return a summary. If anything is wrong, neither file changes.

    Raises:
        UserError: an unknown corpus, no annotation files, or bad rows (all of them in one message).
    """
    utterances, labels = read(corpus)
    utterances["media_hash"] = utterances["media"].map(
        hash_media(utterances["media"], media_root(corpus.root))
    )
    with alone("prepare"), replacing(utterances_path) as drafted, replacing(labels_path) as labelled:
        tables.write_table(utterances, tables.UTTERANCE_COLUMNS, drafted)
        tables.write_table(labels, tables.LABEL_COLUMNS, labelled)
        # A crash between the two that follow leaves one new table, which the next run writes again: DVC saw no success.
        tables.read_labels(tables.read_utterances(drafted), corpus.labels, labelled)
    return _summary(corpus, utterances, labels)


def module(corpus: CorpusParams) -> ModuleType:
    """The importer that `corpus.name` stands for.

    Raises:
        UserError: there is none of that name.
    """
    if corpus.name not in REGISTRY:
        raise UserError(f"corpus.name={corpus.name!r}: no such corpus; there are {', '.join(REGISTRY)}")
    return import_module(REGISTRY[corpus.name])


def read(corpus: CorpusParams) -> raw.Tables:
    """The corpus's tables, without hashes; from EMOFUSE_MEDIA where corpus.root has no annotation files.

    Raises:
        UserError: an unknown corpus, no annotation files, or bad rows.
    """
    missing = []
    for root in dict.fromkeys((Path(corpus.root), media_root(corpus.root))):
        try:
            return module(corpus).read(root, corpus)
        except raw.NoAnnotation as error:
            missing.append(str(error))
    raise UserError("; ".join(missing) + "; set corpus.root or EMOFUSE_MEDIA to the corpus's folder")


def hash_media(media: Iterable[str], root: Path) -> dict[str, str]:
    """{media cell: sha256 of its file, hex; empty where there is no regular file}. Each file is read once.

    Raises:
        UserError: a file is there and cannot be read.
    """
    files = {cell: root / fragments.split(cell)[0] for cell in media}
    unique = list(dict.fromkeys(files.values()))
    # Hashing and reading release the GIL: 1 GB takes about 1 s of one core.
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(unique, pool.map(_sha256, unique), strict=True))
    return {cell: digests[path] for cell, path in files.items()}


def _sha256(path: Path) -> str:
    try:
        # A named pipe would wait for ever; a folder is what an empty cell means.
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _summary(corpus: CorpusParams, utterances: pd.DataFrame, labels: pd.DataFrame) -> str:
    counts = labels["split"].value_counts()
    files = utterances.loc[utterances["media"] != ""].drop_duplicates("media")
    lost = files.loc[files["media_hash"] == "", "media"].tolist()
    lines = [
        f"{corpus.name}: {len(utterances):,} utterances in {utterances['dialogue'].nunique():,} dialogues ("
        + ", ".join(f"{split} {counts.get(split, 0):,}" for split in tables.SPLITS)
        + f"); {len(files) - len(lost):,} of {len(files):,} media found"
    ]
    if lost:
        lines.append(
            f"not found under {media_root(corpus.root)}: {', '.join(lost[:3])}{', …' * (len(lost) > 3)}; "
            "the streams that need them will say missing_file; once they are there: `dvc repro --force prepare`"
        )
    if empty := int((utterances["text"].str.strip() == "").sum()):
        lines.append(f"{empty:,} utterances have no text; text streams will say no_text")
    return "\n  ".join(lines + notes(corpus))


def notes(corpus: CorpusParams) -> list[str]:
    """What a user should know of a corpus's counts; from its importer's `notes`, where it has one."""
    found = getattr(module(corpus), "notes", None)
    return found(corpus) if found else []


def main() -> None:
    words = parser("pipeline.prepare", __doc__)
    words.add_argument("--check", action="store_true", help="report on the corpus; write nothing")
    check, params = words.parse_args().check, sections()
    if check:
        from pipeline.check import report

        print(report(params.corpus, pictures=params.train.streams.visual != "none"))
    else:
        inputs = Inputs(
            ["corpus.keep_tags", "corpus.labels", "corpus.name", "corpus.root"], [Path(params.corpus.watch)]
        )
        summary = prepare(sections().corpus)
        inputs.check([tables.UTTERANCES, tables.LABELS])
        print(summary)


if __name__ == "__main__":
    entry(main)
