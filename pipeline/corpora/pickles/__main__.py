"""Convert the feature pickles that papers publish into tables and feature caches.

    python -m pipeline.corpora.pickles IEMOCAP_features.pkl --to data/          # DialogueRNN's, MMGCN's
    python -m pipeline.corpora.pickles Speakers.pkl TextFeatures.pkl AudioFeatures.pkl VisualFeatures.pkl \\
        --to data/                                                                # MultiEMO's

This writes data/utterances.csv, data/labels.csv and data/features/STREAM.h5 (text, audio, visual; text2 … if a file
has several). To train on them, copy presets/meld.yaml or iemocap.yaml, set `extract: {}` and `finetune: {}`, name
these streams under `train.streams`, and run:

    dvc commit -f prepare && dvc add data/features/{text,audio,visual}.h5 && dvc repro

The pickles are read as data; no code in them runs.
In these files, a vector of zeros means "nothing found"; its status becomes `no_text`, `no_audio` or `no_face`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline import features
from pipeline.command import parser
from pipeline.corpora import iemocap, meld, raw
from pipeline.corpora.pickles.layouts import Published, Stream, read
from pipeline.disk import replacing
from pipeline.errors import UserError, entry
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.strict import validate
from pipeline.tables import schema as tables

EMOTIONS = {
    "iemocap": ("happiness", "sadness", "neutral", "anger", "excitement", "frustration"),
    "meld": meld.EMOTIONS,
}
NOTHING = {"text": "no_text", "audio": "no_audio", "visual": "no_face"}


def convert(files: Sequence[Path], to: Path, labels: Sequence[str] = ()) -> str:
    """Write the tables and one cache per stream, and return a summary.

    Args:
        files: the pickles.
        to: the folder to write to.
        labels: the names of labels 0, 1, …; by default those of IEMOCAP or MELD, depending on the dialogues' ids.

    Raises:
        UserError: if a pickle is refused or has an unknown layout, or its entries are inconsistent.
    """
    found = read(files)
    name = "iemocap" if all(iemocap.is_dialogue(d) for d in found.labels) else "meld"
    names = tuple(labels) or EMOTIONS[name]
    about = {"name": name, "watch": "", "root": str(to), "labels": list(names)}
    corpus = validate(CorpusParams, about, Path("--labels"))
    utterances, table = raw.tables(_rows(found, names, files[0]), corpus, Problems())
    utterances["media_hash"] = ""
    lines = [f"{len(utterances):,} utterances; corpus.labels: [{', '.join(names)}]"]
    for stream in found.streams:
        path = to / "features" / f"{stream.name}.h5"
        turns = [
            stream.vectors[d][t] for d, t in zip(utterances["dialogue"], utterances["turn"], strict=True)
        ]
        rows = [_row(vector, key, stream) for vector, key in zip(turns, utterances["utterance"], strict=True)]
        features.write(path, _meta(stream, name, len(turns[0])), list(utterances["utterance"]), rows)
        lost = sum(row.status != "ok" for row in rows)
        lines.append(
            f"{path}: {stream.modality}, {len(turns[0])} numbers each" + f"; {lost:,} without" * (lost > 0)
        )
    for frame, columns, name in (
        (utterances, tables.UTTERANCE_COLUMNS, tables.UTTERANCES.name),
        (table, tables.LABEL_COLUMNS, tables.LABELS.name),
    ):
        with replacing(to / name) as part:
            tables.write_table(frame, columns, part)
    return "\n  ".join(lines)


def _rows(found: Published, names: Sequence[str], source: Path) -> Iterator[raw.Row]:
    for dialogue, labels in found.labels.items():
        if max(labels, default=0) >= len(names):
            raise UserError(
                f"{source}: dialogue {dialogue} has label {max(labels)}; name all labels with --labels"
            )
        texts = found.sentences.get(dialogue, [""] * len(labels))
        ids = found.ids.get(dialogue, [f"{dialogue}_utt{turn:03}" for turn in range(len(labels))])
        for turn, label in enumerate(labels):
            yield raw.Row(
                place=f"{source}: {dialogue}[{turn}]",
                utterance=ids[turn],
                dialogue=dialogue,
                order=(turn,),
                speaker=found.speakers[dialogue][turn],
                text=meld.repair(texts[turn]),
                split=found.split[dialogue],
                emotion=names[label],
                session=iemocap.session(dialogue) if iemocap.is_dialogue(dialogue) else "",
            )


def _row(vector: np.ndarray, utterance: str, stream: Stream) -> features.Row:
    key = hashlib.sha256(utterance.encode() + b"\0" + vector.tobytes()).hexdigest()
    if not np.isfinite(vector).all():
        return features.Row(key, "corrupt", "the published vector holds values that are no numbers")
    if not vector.any():
        return features.Row(key, NOTHING[stream.modality], "the published vector is all zeros")
    return features.Row(key, "ok", pooled=vector)


def _meta(stream: Stream, corpus: str, dim: int) -> features.Meta:
    encoder = {"encoder": "published", "file": stream.source.name, "entry": stream.name}
    with stream.source.open("rb") as file:
        code = hashlib.file_digest(file, "sha256").hexdigest()
    text = json.dumps([encoder, code], sort_keys=True)
    return features.Meta(
        stream=stream.name,
        modality=stream.modality,
        corpus=corpus,
        licence="",
        encoder=encoder,
        weights={"name": "", "revision": "", "sha256": ""},
        weights_saw=None,
        packages={},
        code=code,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        pooled_dim=dim,
    )


def main() -> None:
    """Run `python -m pipeline.corpora.pickles`."""
    words = parser("pipeline.corpora.pickles", __doc__)
    words.add_argument("files", nargs="+", type=Path, metavar="FILE")
    words.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="folder for tables and features"
    )
    words.add_argument("--labels", default="", help="names of labels 0, 1, …, separated by commas")
    asked = words.parse_args()
    os.makedirs(asked.to, exist_ok=True)
    print(convert(asked.files, asked.to, [name for name in asked.labels.split(",") if name]))


if __name__ == "__main__":
    entry(main)
