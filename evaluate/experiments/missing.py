"""Score trained models on test while modalities are missing.

    python -m evaluate.experiments.missing                         # the models in models/, as a Markdown table
    python -m evaluate.experiments.missing --json without.json     # and all four scores, unrounded, in a file
    python -m evaluate.experiments.missing --beside without.json   # with the figures of another run; --format csv

The first rows are the subsets of the modalities in use: the other modalities are missing in all test dialogues. The
last rows are rates from .1 to .5: each modality of each turn is missing with this probability, but a turn keeps at
least one modality, as in `train.modality_dropout`. Each rate is drawn ten times, with the seeds 0 to 9. A score is the
mean over the models' seeds and the draws. Its 95% interval is a bootstrap over the test dialogues. `lost` is the share
of the test features that are missing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluate.inference import BATCH, hide, probabilities
from evaluate.run.load import trained
from evaluate.run.metrics import METRICS, intervals, scores
from pipeline.command import parser
from pipeline.disk import write_text
from pipeline.env import device as pick_device
from pipeline.errors import UserError, entry
from pipeline.params import Params, load
from pipeline.settings import read_yaml
from pipeline.strict import Strict, validate
from train.data.corpus import Corpus
from train.data.missing import drawn, has
from train.fusion.build import read
from train.truth import one_label

RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
DRAWS = 10


@dataclass(frozen=True)
class Condition:
    """The features that are missing in a row of the table.

    Attributes:
        title: the name of the row.
        changes: functions that set the features of a batch missing, one per draw.
    """

    title: str
    changes: tuple[Callable[[Any], Any], ...]


class Score(Strict):
    """The mean of a score and its 95% interval, which is None if there is only one test dialogue."""

    mean: float
    low: float | None
    high: float | None


class Row(Strict):
    """The scores under one condition, and the share of the test features that are missing."""

    title: str
    lost: float
    weighted_f1: Score
    macro_f1: Score
    accuracy: Score
    unweighted_accuracy: Score


class Measured(Strict):
    """The table of one run, as `--json` writes it."""

    model: str
    modality_dropout: float
    utterances: int
    rows: list[Row]


def conditions(modalities: Sequence[str], count: int) -> list[Condition]:
    """Return the subsets of the modalities, the largest first, and the rates.

    Args:
        modalities: the modalities in use.
        count: the number of utterances in the corpus.
    """
    subsets = [
        Condition("+".join(shown), (partial(_hide, hidden=[m for m in modalities if m not in shown]),))
        for size in range(len(modalities), 0, -1)
        for shown in combinations(modalities, size)
    ]
    draws = [
        torch.rand(len(modalities), count, generator=torch.Generator().manual_seed(draw))
        for draw in range(DRAWS)
    ]
    rates = [
        Condition(f"each missing at {rate}", tuple(partial(_lose, rate=rate, numbers=x) for x in draws))
        for rate in RATES
    ]
    return [*subsets, *rates]


def measure(params: Params) -> Measured:
    """Score the models of params under every condition.

    Raises:
        UserError: a model is missing, damaged or trained with other params; fewer than two modalities are in use; no
            test utterance has a label.
    """
    data, device = read(params), pick_device()
    if len(data.dims) < 2:
        raise UserError(
            f"model.name={params.model.name} reads {' and '.join(data.dims)} only; missing modalities need at least "
            "two: name a stream of another modality under train.streams"
        )
    labels = one_label(data.labels, data.goal.kind, "this table scores one label").numpy()
    rows = np.flatnonzero((data.split == "test") & (labels >= 0))
    if not len(rows):
        raise UserError("data/labels.csv: no test utterance has a label; add labels or change train.fold")
    found: dict[Condition, list[np.ndarray]] = {
        condition: [] for condition in conditions(list(data.dims), len(labels))
    }
    for _, _, model in trained(params, data):
        model.to(device)
        for condition, guesses in found.items():
            for change in condition.changes:
                answers = probabilities(model, data, device, change, split="test")
                guesses.append(answers[rows].argmax(axis=1))
    dialogues = np.array([data.utterances[i].dialogue for i in rows])
    return Measured(
        model=params.model.name,
        modality_dropout=params.train.modality_dropout,
        utterances=len(rows),
        rows=[
            Row(
                title=condition.title,
                lost=_lost(data, condition),
                **_scores(labels[rows], np.array(guesses), dialogues, params),
            )
            for condition, guesses in found.items()
        ],
    )


def render(*runs: Measured, form: str = "markdown") -> str:
    """Return a table of weighted F1 in percent, with two columns per run, as Markdown or csv."""
    lines = [["at test", "lost"]]
    for run in runs:
        lines[0] += [f"{run.model}, modality dropout {run.modality_dropout:g}", "95% interval"]
    for rows in zip(*(run.rows for run in runs), strict=True):
        cells = [rows[0].title, f"{100 * rows[0].lost:.0f}%"]
        for score in (row.weighted_f1 for row in rows):
            ends = [f"{100 * end:.2f}" for end in (score.low, score.high) if end is not None]
            cells += [f"{100 * score.mean:.2f}", " to ".join(ends)]
        lines.append(cells)
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue()
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def other(path: Path, run: Measured) -> Measured:
    """Read the table of another run.

    Raises:
        UserError: the file is missing or damaged, or its test utterances or modalities are not those of `run`.
    """
    found = validate(Measured, read_yaml(path), path)
    titles = [[row.title for row in one.rows] for one in (found, run)]
    if titles[0] != titles[1] or found.utterances != run.utterances:
        raise UserError(
            f"{path}: measured on {found.utterances} test utterances with {titles[0][0]}, the models here on "
            f"{run.utterances} with {titles[1][0]}; measure both on the same corpus and streams"
        )
    return found


def _hide(batch: Any, hidden: Sequence[str]) -> Any:
    return reduce(hide, hidden, batch)


def _lose(batch: Any, rate: float, numbers: torch.Tensor) -> Any:
    return drawn(batch, rate, numbers[:, batch.indices])


def _lost(data: Corpus, condition: Condition) -> float:
    """Return the share of the test features that are missing under a condition, the mean over its draws."""

    def features(batch: Any) -> int:
        return sum(int(has(batch, m).sum()) for m in batch.present)

    batches = [data.batch(group) for group in data.groups(data.units("test"), BATCH)]
    left = [sum(features(change(batch)) for batch in batches) for change in condition.changes]
    return 1 - float(np.mean(left)) / sum(features(batch) for batch in batches)


def _scores(
    truth: np.ndarray, predicted: np.ndarray, dialogues: np.ndarray, params: Params
) -> dict[str, Score]:
    """Return each of `METRICS` for true labels [n] and predicted labels [S, n] of the seeds and draws."""
    each = [scores(truth, guess, len(params.corpus.labels)) for guess in predicted]
    ends = intervals(truth, predicted, dialogues, params.evaluate.bootstrap)
    found = {}
    for metric in METRICS:
        low, high = (None, None) if ends is None else ends[metric]
        found[metric] = Score(mean=float(np.mean([one[metric] for one in each])), low=low, high=high)
    return found


def main() -> None:
    """Print the table."""
    line = parser("evaluate.experiments.missing", __doc__)
    line.add_argument("--json", type=Path, metavar="FILE", help="write all scores to this file")
    line.add_argument(
        "--beside", type=Path, metavar="FILE", help="the file that --json wrote for another run"
    )
    line.add_argument("--format", choices=("markdown", "csv"), default="markdown")
    words = line.parse_args()
    run = measure(load())
    runs = [run] if words.beside is None else [run, other(words.beside, run)]
    print(render(*runs, form=words.format), end="")
    if words.json is not None:
        write_text(words.json, run.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    entry(main)
