"""Score a trained model on the test split of another corpus.

    python -m evaluate.cross models/seed0 ../other --map joy=happiness,mad=anger
    python -m evaluate.cross models ../other --map joy=happiness --csv cross.csv     # the mean over all seeds

The second argument is the folder of another project: its params.yaml, its tables in data, and the model's streams in
data/features, with the same names and from the same encoders. `--map THEIRS=OURS` gives a label of that corpus the name
of a label of the model. Equal names need no entry. Utterances with any other label are left out and counted. An answer
with a label that the corpus does not have is an error, and is counted, too.

The scores are percent, with 95% intervals over dialogues. The features are normalised by the statistics of the model's
own corpus. Nothing is written except the file of `--csv`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evaluate.inference import probabilities
from evaluate.predict.hub import seed_folders
from evaluate.run.measures.measure import NAMES
from evaluate.run.metrics import METRICS, intervals, scores
from pipeline.command import parser
from pipeline.disk import write_text
from pipeline.env import device
from pipeline.errors import UserError, entry
from pipeline.features import FeatureCache, Meta
from pipeline.messages import nearest
from pipeline.params import FEATURES, PARAMS, sections
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import LABELS, UTTERANCES, Utterance, read_utterances
from pipeline.tables.splits import splits
from pipeline.tables.target import target_of
from train.checkpoint import read_model
from train.data.corpus import Statistics
from train.fusion.build import read_unlabelled, restored
from train.fusion.params import recorded
from train.record import StreamRecord
from train.targets import recorded_goal


@dataclass(frozen=True, eq=False)
class Crossed:
    """Models' answers for the scored test utterances of another corpus.

    Attributes:
        truth: `[n]` label numbers of the model.
        predicted: `[S, n]` label numbers, one row per seed.
        dialogues: `[n]` identifiers of the dialogues.
        left_out: label of the corpus → number of test utterances that are not scored.
        impossible: label of the model that the corpus does not have → number of such answers over all seeds.
        resamples: the number of bootstrap samples.
    """

    truth: np.ndarray
    predicted: np.ndarray
    dialogues: np.ndarray
    left_out: dict[str, int]
    impossible: dict[str, int]
    resamples: int

    def table(self) -> pd.DataFrame:
        """Return a row per score: its mean over the seeds, standard deviation and interval, in percent."""
        classes = 1 + int(max(self.truth.max(), self.predicted.max()))
        found = pd.DataFrame([scores(self.truth, row, classes) for row in self.predicted])
        ends = intervals(self.truth, self.predicted, self.dialogues, self.resamples) or {}
        rows = []
        for name in METRICS:
            low, high = ends.get(name, (np.nan, np.nan))
            spread = found[name].std(ddof=1) if len(found) > 1 else np.nan
            rows.append([NAMES[name], *(100 * x for x in (found[name].mean(), spread, low, high))])
        return pd.DataFrame(rows, columns=["score", "mean", "sd", "low", "high"]).round(2)


def cross(model: Path, corpus: Path, renamed: Mapping[str, str]) -> Crossed:
    """Predict the test split of another corpus.

    Args:
        model: the folder of one model, models/seedN, or of several, models.
        corpus: the folder of the other project.
        renamed: label of the corpus → label of the model.

    Raises:
        UserError: a model, table or feature file is missing or damaged, a label is unknown, the features come from
            another encoder, or no test utterance has a label of the model.
    """
    params = sections(corpus / PARAMS)
    if params.corpus.target != "single":
        raise UserError(
            f"{corpus / PARAMS}: corpus.target={params.corpus.target}: only answers with one label per utterance are "
            "compared; name a corpus with target: single"
        )
    folders = seed_folders(model) or [model]
    names = read_model(folders[0])[1].labels
    ours = _ours(params.corpus.labels, names, renamed)
    rows = read_utterances(corpus / UTTERANCES)
    table = read_labels(rows, target_of(params.corpus), corpus / LABELS)
    chosen = params.train
    test = splits(table, rows, chosen.fold, chosen.seed, chosen.val) == "test"
    emotion = table["emotion"].to_numpy(dtype=str)
    scored = test & np.isin(emotion, list(ours))
    if not scored.any():
        raise UserError(
            f"{corpus / LABELS}: no test utterance has a label of the model ({', '.join(names)}); name its labels with "
            "--map THEIRS=OURS"
        )
    predicted = np.stack([_answers(folder, corpus, rows, names) for folder in folders])[:, scored]
    there = set(ours.values())
    return Crossed(
        truth=np.array([names.index(ours[label]) for label in emotion[scored]]),
        predicted=predicted,
        dialogues=np.array([u.dialogue for u in rows])[scored],
        left_out=dict(Counter(emotion[test & ~scored & (emotion != "")].tolist())),
        impossible={n: int((predicted == i).sum()) for i, n in enumerate(names) if n not in there},
        resamples=params.evaluate.bootstrap,
    )


def _ours(theirs: Sequence[str], names: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Return {label of the corpus: label of the model} for all labels that have one."""
    for side, label, known in (
        *(("the corpus", label, theirs) for label in renamed),
        *(("the model", label, names) for label in renamed.values()),
    ):
        if label not in known:
            raise UserError(
                f"--map: {label!r} is no label of {side}{nearest(label, known)}; use THEIRS=OURS, where the corpus has "
                f"{', '.join(theirs)} and the model {', '.join(names)}"
            )
    return {label: label for label in theirs if label in names} | dict(renamed)


def _answers(folder: Path, corpus: Path, rows: list[Utterance], names: Sequence[str]) -> np.ndarray:
    """Return a model's most probable label for each utterance, `[N]` numbers."""
    state, record = read_model(folder)
    if record.target != "single" or record.labels != list(names):
        raise UserError(
            f"{folder}/model.json: predicts {record.target} {', '.join(record.labels)} instead of one of "
            f"{', '.join(names)}; name a model of one label per utterance, or several with equal labels"
        )
    fusion, goal = recorded(record.params, folder / "model.json"), recorded_goal(record)
    caches = {m: corpus / FEATURES / f"{stream.stream}.h5" for m, stream in record.streams.items()}
    for modality, path in caches.items():
        with FeatureCache(path) as cache:
            meta = cache.meta
        for difference in differences(record.streams[modality], meta, path):
            print(f"note: {difference}")
        # Imported features are known by their description only.
        size = meta.frames_dim if fusion.declared.reads == "frames" else meta.pooled_dim
        if size != record.dims[modality]:
            raise UserError(
                f"{path}: {size} features, but the model was trained on {record.dims[modality]}; use the stream of "
                "training"
            )
    known = {m: Statistics(np.array(s.mean), np.array(s.sd)) for m, s in record.statistics.items()}
    data = read_unlabelled(fusion.declared, record.params.train, rows, goal, caches, known)
    network = restored(folder, state, fusion, record.dims, goal).to(device())
    found: np.ndarray = probabilities(network, data, device(), temperature=record.temperature).argmax(axis=1)
    return found


def differences(stream: StreamRecord, meta: Meta, path: Path) -> list[str]:
    """Return differences that are usually harmless; raise UserError for features of another encoder."""
    trained = {"encoder": stream.encoder, "weights": stream.weights.sha256}
    here = {"encoder": meta.encoder, "weights": meta.weights.get("sha256", "")}
    for field, value in trained.items():
        if here[field] != value:
            raise UserError(
                f"{path}: made with {field} {here[field]!r}, but the model was trained on features of {value!r}; "
                f"extract {stream.stream} with the params and weights of training"
            )
    if (stream.code, stream.packages) == (meta.code, meta.packages):
        return []
    return [f"{path}: made by another version of the encoder's code or packages than in training"]


def said(found: Crossed) -> str:
    """Return the scores and counts for people."""
    count = len(found.truth)
    lines = [
        f"{count} test utterances in {len(set(found.dialogues))} dialogues, {len(found.predicted)} seeds"
    ]
    lines.append(found.table().to_string(index=False, na_rep=""))
    for title, counts in (
        ("left out, because the model does not have their label", found.left_out),
        ("answers of all seeds with a label that the corpus does not have", found.impossible),
    ):
        shown = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        lines.append(f"{title}: {shown or 'none'}")
    return "\n".join(lines)


def pairs(text: str) -> dict[str, str]:
    """Return {THEIRS: OURS} of `THEIRS=OURS,…`.

    Raises:
        UserError: an entry is not a pair, or a label occurs twice.
    """
    found: dict[str, str] = {}
    for one in filter(None, text.split(",")):
        theirs, ours = (part.strip() for part in one.partition("=")[::2])
        if not theirs or not ours or theirs in found:
            raise UserError(f"--map {text!r}: must be THEIRS=OURS,… with each label of the corpus once")
        found[theirs] = ours
    return found


def main() -> None:
    """Run the command."""
    line = parser("evaluate.cross", __doc__)
    line.add_argument("model", type=Path, help="the folder of a model, models/seedN, or of several, models")
    line.add_argument("corpus", type=Path, help="the folder of the other project")
    line.add_argument(
        "--map", default="", metavar="THEIRS=OURS,…", help="labels of the corpus, by those of the model"
    )
    line.add_argument("--csv", type=Path, metavar="FILE", help="also write the scores to this file")
    words = line.parse_args()
    found = cross(words.model, words.corpus, pairs(words.map))
    print(said(found))
    if words.csv:
        write_text(words.csv, found.table().to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    entry(main)
