"""Measure which share of a corpus and of other clips a model flags as far from training.

    python -m benchmarks.far meld=meld.csv emodb=emodb.csv --csv results/published/far.csv   # after `dvc repro`

Each NAME=CSV is a csv of spans in the columns of `predict --csv`; its media lie beside it. The first rows are the
splits of the project's own corpus; train/distance.py puts the limits so that 5% of val is far. Columns, in percent:

- one per modality: the share that is far among the utterances with a feature.
- any: the share that is far in at least one modality, among all utterances.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from evaluate.predict.__main__ import answer
from evaluate.predict.source import from_csv
from evaluate.predict.trained import Trained, open_model
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.params import load
from pipeline.tables.schema import SPLITS
from train.distance import far
from train.fusion.build import read


def main() -> None:
    """Predict each csv file's utterances, print and write the table."""
    words = parser("benchmarks.far", __doc__)
    words.add_argument(
        "sets", metavar="NAME=CSV", nargs="*", help="spans of recordings that are not the corpus's"
    )
    words.add_argument("--model", type=Path, default=Path("models/seed0"), help="the model's folder")
    words.add_argument("--csv", type=Path, help="also write the table to this file")
    given = words.parse_args()
    files = {}
    for pair in given.sets:
        name, sign, file = pair.partition("=")
        if not sign:
            raise UserError(f"{pair}: give NAME=CSV, for example meld=clips/spans.csv")
        files[name] = Path(file)
    model = open_model(given.model, {}, Path())
    rows = own(model)
    for name, file in files.items():
        rows.append(foreign(name, open_model(given.model, {}, file.parent), file))
    found = pd.DataFrame(rows)
    print(found.to_string(index=False))
    if given.csv:
        found.to_csv(given.csv, index=False, lineterminator="\n")


def own(model: Trained) -> list[dict[str, str]]:
    """Return a row for each split of the project's corpus."""
    data = read(load())
    flags = far(data, model.regions)
    there = {m: stream.available() for m, stream in data.streams.items()}
    return [
        row(f"{split} of the corpus", *(_part(found, data.split == split) for found in (flags, there)))
        for split in SPLITS
    ]


def foreign(name: str, model: Trained, file: Path) -> dict[str, str]:
    """Return the row of a csv file's utterances."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recordings = from_csv(file, model.goal.target(), folder)
        answers = answer(model, recordings, folder, folder / "journals")
    there = {m: np.array([status == "ok" for status in found]) for m, found in answers.missing.items()}
    return row(name, answers.far, there)


def row(name: str, flags: Mapping[str, np.ndarray], there: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return a row of the table.

    Args:
        name: of the utterances.
        flags: modality → `[N]` bool, whether the feature is far.
        there: modality → `[N]` bool, whether there is a feature.
    """
    counts = {m: (int(flags[m].sum()), int(there[m].sum())) for m in flags}
    anywhere = np.any(list(flags.values()), axis=0)
    counts["any"] = (int(anywhere.sum()), len(anywhere))
    shares = {m: f"{100 * part / of:.1f}" if of else "none" for m, (part, of) in counts.items()}
    return {"utterances of": name, "count": str(len(anywhere)), **shares}


def _part(found: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {m: values[rows] for m, values in found.items()}


if __name__ == "__main__":
    entry(main)
