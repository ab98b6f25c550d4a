"""Import the table of an MMSA pickle, such as unaligned_50.pkl or unaligned_39.pkl, without its media.

    NAME.pkl     the only pickle in corpus.root; pipeline/corpora/pickles/mmsa.py has its fields

`python -m pipeline.features import NAME.pkl` makes streams of its features. The pickle is read as data: no code in it
runs. The rows are those of pipeline/corpora/mmsa.py, which names the papers and the numbers for `corpus.values`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline import folders
from pipeline.corpora import mmsa, raw
from pipeline.corpora.pickles.mmsa import BETWEEN, Part, read_parts
from pipeline.errors import UserError
from pipeline.messages import Problems, listed
from pipeline.params import CorpusParams

FAULTS = (
    *mmsa.FAULTS,
    "The features have no times, so frames cannot be compared with the media.",
    "Audio may hold minus infinity, which MMSA and this importer replace by 0.",
)
# The columns of MMSA's table → the fields of its pickles.
FIELDS = {
    "label": "regression_labels",
    "label_T": "regression_labels_T",
    "label_A": "regression_labels_A",
    "label_V": "regression_labels_V",
}


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the clips of the only pickle in `root`.

    Raises:
        UserError: if there is no pickle or more than one, it is refused, or a value is invalid.
    """
    files = folders.files(root, ".pkl", below=False)
    if not files:
        raise raw.NoAnnotation(f"{root}: no .pkl file here")
    if len(files) > 1:
        raise UserError(
            f"{root}: {listed(path.name for path in files)}: more than one pickle; their tables are the same, so "
            "keep one here"
        )
    table = [row for part in read_parts(files[0]) for row in _rows(part, bool(corpus.labels))]
    problems = Problems()
    rows = [replace(row, media="") for row in mmsa.rows(table, corpus, problems)]
    return raw.tables(rows, corpus, problems)


def _rows(part: Part, labelled: bool) -> Iterator[raw.CsvRow]:
    """Yield the rows of MMSA's table, with the columns of `mmsa.NEEDED` and those that the pickle has."""
    columns = {
        # str of a float32 is its shortest text.
        column: [str(value) for value in part.numbers(field, 1)]
        for column, field in FIELDS.items()
        if column == "label" or field in part.fields
    }
    columns["text"] = part.texts("raw_text")
    if labelled:
        columns["annotation"] = part.texts("annotations")
    for row, name in enumerate(part.ids):
        video, _, clip = name.partition(BETWEEN)
        yield (
            f"{part.path}: {part.name}[{row}]",
            {
                "video_id": video,
                "clip_id": clip,
                "mode": part.name,
                **{column: values[row] for column, values in columns.items()},
            },
        )
