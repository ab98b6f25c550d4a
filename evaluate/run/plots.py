"""Write the tables for `dvc plots show|diff`, one csv per plot in results/plots/.

    confusion.csv    actual, predicted: one row per scored test utterance (template `confusion`)
    per_label.csv    label, f1, precision, recall, support: means over the seeds
    reliability.csv  confidence, accuracy, count: one row per bin
    loss.csv         epoch, total loss and its parts on train, cross-entropy on val
    scores.csv       epoch, weighted F1, macro F1, accuracy on val
    modalities.csv   modality, lost: main score on test lost when its features are hidden
    values.csv       value, annotated, predicted: one row per rated value of a test utterance (`corpus.target: values`)
    attention.csv    offset (key turn minus query turn), mean attention per pair of modalities
    attention_by_pair.csv    pair of modalities (query, key) and its share of attention on the query's own turn,
                     on earlier turns and on later turns; the shares of a pair sum to 1

All tables except per_label.csv describe the first seed's model, like the report. Attention covers the dialogues that
`load.looked_at` keeps; very long dialogues are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluate.run.results import Prediction, Run
from pipeline.disk import write_text

REACH = 8


def tables(run: Run, found: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Return {file stem: table}; a table without data has only its header."""
    labels = found["splits"]["test"].get("labels", {})
    test = found["seeds"][0]["splits"].get("test", {})
    history = run.history[run.first.seed]
    loss, scores = curves(list(history.columns))
    return {
        "confusion": _pairs(run),
        "per_label": pd.DataFrame(
            [{"label": name, **values} for name, values in labels.items()],
            columns=["label", "f1", "precision", "recall", "support"],
        ),
        "reliability": pd.DataFrame(test.get("calibration", []), columns=["confidence", "accuracy", "count"]),
        "loss": history[["epoch", *loss]],
        "scores": history[["epoch", *scores]],
        "modalities": pd.DataFrame(
            [(m, next(iter(row["cost"].values()))) for m, row in found["modalities"].items()],
            columns=["modality", "lost"],
        ),
        "values": _values(run),
        "attention": attention_by_offset(run.first),
        "attention_by_pair": attention_by_pair(run.first),
    }


def _pairs(run: Run) -> pd.DataFrame:
    """Return the true and the predicted label of every scored test utterance; empty without a single label."""
    if run.params.corpus.target in ("multi", "values"):
        return pd.DataFrame(columns=["actual", "predicted"])
    rows = np.flatnonzero((run.splits == "test") & (run.truth >= 0))
    names = np.array(run.names, dtype=object)
    predicted = run.first.probabilities.argmax(axis=1)
    return pd.DataFrame({"actual": names[run.truth[rows]], "predicted": names[predicted[rows]]})


def _values(run: Run) -> pd.DataFrame:
    """Return the annotated and the predicted number of every rated value on test; empty for labels."""
    columns = ["value", "annotated", "predicted"]
    if run.params.corpus.target != "values":
        return pd.DataFrame(columns=columns)
    rows, k = np.nonzero((run.splits == "test")[:, None] & ~np.isnan(run.truth))
    names = np.array(run.names, dtype=object)
    return pd.DataFrame(
        dict(zip(columns, (names[k], run.truth[rows, k], run.first.probabilities[rows, k]), strict=True))
    )


def write(run: Run, found: dict[str, Any], folder: Path) -> list[Path]:
    """Write every table as csv into `folder` and return the paths."""
    paths = []
    for stem, table in tables(run, found).items():
        paths.append(folder / f"{stem}.csv")
        write_text(paths[-1], table.to_csv(index=False, lineterminator="\n"))
    return paths


def curves(columns: list[str]) -> tuple[list[str], list[str]]:
    """Return a history's columns as (losses, scores), without epoch and learning rate."""
    kept = [c for c in columns if c.startswith(("train_", "val_"))]
    scores = [c for c in kept if c.endswith(("_f1", "accuracy", "_map", "_ccc"))]
    return [c for c in kept if c not in scores], scores


def apart(losses: list[str]) -> tuple[list[str], list[str]]:
    """Return the columns of losses without and with Soft-HGR, whose values would flatten the other curves."""
    correlation = [column for column in losses if column.endswith("_hgr")]
    return [column for column in losses if column not in correlation], correlation


def attention_by_offset(prediction: Prediction) -> pd.DataFrame:
    """Return the mean attention weight at each distance up to 8 turns, one column per pair of modalities.

    The mean is taken over queries that have a turn at that distance and at least one key to attend to.
    """
    columns = {f"{query} to {key}": _by_offset(maps) for (query, key), maps in _maps(prediction) if maps}
    offsets = pd.Index(range(-REACH, REACH + 1), name="offset")
    return pd.DataFrame(columns, index=offsets).reset_index() if columns else pd.DataFrame({"offset": []})


def attention_by_pair(prediction: Prediction) -> pd.DataFrame:
    """Return one row per pair of modalities: the mean weight of its queries on each part of the dialogue."""
    rows = []
    for (query, key), maps in _maps(prediction):
        parts = [
            np.stack([np.diagonal(w), np.tril(w, -1).sum(axis=1), np.triu(w, 1).sum(axis=1)], axis=1)
            for w in maps
        ]
        shares = np.concatenate([np.empty((0, 3)), *parts])
        shares = shares[shares.sum(axis=1) > 0]
        if len(shares):
            rows.append((f"{query} to {key}", *shares.mean(axis=0, dtype=np.float64)))
    return pd.DataFrame(rows, columns=["pair", "own_turn", "before", "after"])


def _maps(prediction: Prediction) -> list[tuple[tuple[str, str], list[np.ndarray]]]:
    """Return each pair of modalities with the attention maps that were kept."""
    return [
        (pair, [weight for weight in maps if weight is not None])
        for pair, maps in (prediction.attention or {}).items()
    ]


def _by_offset(maps: list[np.ndarray]) -> list[float]:
    weights: list[list[np.ndarray]] = [[] for _ in range(2 * REACH + 1)]
    for weight in maps:
        attending = weight.sum(axis=1) > 0
        for offset in range(-REACH, REACH + 1):
            diagonal = np.diagonal(weight, offset)
            first = max(0, -offset)
            weights[offset + REACH].append(diagonal[attending[first : first + len(diagonal)]])
    joined = [np.concatenate(parts) for parts in weights]
    return [float(part.mean(dtype=np.float64)) if len(part) else np.nan for part in joined]
