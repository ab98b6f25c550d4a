"""Compare streams by logistic regression, each by itself and all concatenated; each fold holds out one session.

    python -m benchmarks.streams opensmile speech --csv results/published/emodb.csv     # a minute

The folder has params.yaml, data/labels.csv, data/utterances.csv and the features of each STREAM. The folds are the
sessions of data/utterances.csv; in corpora of acted clips a session is a speaker or a group of speakers. The strength
of the regularisation is chosen on val, as `train.val` says. Features are normalised by the train split, or by each
speaker's own clips (`train.normalise: speaker`) if the corpus names speakers.

Scores are percent, mean ± standard deviation over the folds. p is from a paired bootstrap over the dialogues of all
folds, for weighted F1 against the first stream with the same normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks.held_out import cells, fold_answers, mean
from evaluate.experiments.folds import sessions
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.features import FeatureCache
from pipeline.params import FEATURES, PARAMS, Params
from pipeline.settings import read_yaml
from pipeline.strict import validate
from pipeline.tables.schema import read_utterances
from train.data.dialogues import Dialogues, Pooled
from train.fusion.build import read


def main() -> None:
    """Train a model per row and fold, and print and write the table."""
    options = parser("benchmarks.streams", __doc__)
    options.add_argument("streams", metavar="STREAM", nargs="+", help="a stream of data/features")
    options.add_argument("--csv", type=Path, help="also write the table to this file")
    words = options.parse_args()
    found = table(list(dict.fromkeys(words.streams)))
    print(found.to_string(index=False))
    if words.csv:
        found.to_csv(words.csv, index=False, lineterminator="\n")


def table(streams: Sequence[str]) -> pd.DataFrame:
    """Return a row per normalisation and choice of streams, all cells as text.

    Raises:
        UserError: the corpus has no sessions or another target than `single`, or a stream is missing or damaged.
    """
    choices = [[name] for name in streams]
    if len(choices) > 1:
        choices.append(list(streams))
    folds, rows = sessions(), []
    named = any(row.speaker for row in read_utterances())
    for normalise in ("global", "speaker") if named else ("global",):
        first = None
        for chosen in choices:
            done = [fold_answers(*corpus(chosen, fold, normalise), 1) for fold in folds]
            answers = [frame for frame, _ in done]
            first = first or answers
            head = {"streams": " + ".join(chosen), "normalise": normalise}
            rows.append(head | cells(answers, first) | {"val F1": mean([score for _, score in done])})
    return pd.DataFrame(rows)


def corpus(streams: Sequence[str], fold: str, normalise: str) -> tuple[Params, Dialogues]:
    """Return the params of logistic regression on a fold, and their corpus with the streams concatenated."""
    each = [_one(stream, fold, normalise) for stream in streams]
    params, data = each[0]
    (modality,) = data.streams
    pooled = [stream for _, one in each for stream in one.streams.values()]
    joined = Pooled(
        pooled[0].meta,
        pooled[0].statistics,
        torch.cat([one.features for one in pooled], 1),
        torch.stack([one.present for one in pooled]).any(0),
    )
    return params, replace(data, streams={modality: joined})


def _one(stream: str, fold: str, normalise: str) -> tuple[Params, Dialogues]:
    with FeatureCache(FEATURES / f"{stream}.h5") as cache:
        modality = cache.meta.modality
    values = read_yaml(PARAMS)
    values["model"], values["loss"] = {"name": "logreg"}, {}
    values["train"] |= {
        "streams": {"text": "none", "audio": "none", "visual": "none"} | {modality: stream},
        "fold": fold,
        "normalise": normalise,
    }
    params = validate(Params, values, PARAMS)
    if params.corpus.target != "single":
        raise UserError(f"{PARAMS}: corpus.target={params.corpus.target}: use a corpus with `target: single`")
    data = read(params)
    assert isinstance(data, Dialogues)  # logreg reads pooled features
    return params, data


if __name__ == "__main__":
    entry(main)
