"""Describe a prepared corpus for `python -m pipeline.prepare --card FILE`: Markdown for people, JSON for programs.

Counts come from data/utterances.csv and data/labels.csv. The duration of an utterance is `end` - `start`, or that of
its file if the media are on this machine; otherwise it is unknown. Languages and known faults are those that the
importer lists. Gebru et al., "Datasheets for Datasets", Communications of the ACM 64(12), 2021.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from pipeline import fragments
from pipeline.disk import write_text
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.markdown import cell, table
from pipeline.params import CorpusParams
from pipeline.probe import probe
from pipeline.tables.schema import SPLITS, Utterance
from pipeline.tables.target import Target, target_of

SHOWN = 20  # speakers and files in the Markdown; the JSON has all


def write(
    path: Path,
    corpus: CorpusParams,
    importer: ModuleType,
    utterances: Sequence[Utterance],
    labels: pd.DataFrame,
) -> list[Path]:
    """Write the datasheet to `path` and the same facts to the JSON file beside it, and return both paths.

    Raises:
        UserError: if `path` ends in .json, or a file cannot be written.
    """
    if path.suffix == ".json":
        raise UserError(
            f"--card {path}: choose a name such as {path.with_suffix('.md')}; the JSON file is beside it"
        )
    found = facts(corpus, importer, utterances, labels)
    beside = path.with_suffix(".json")
    write_text(beside, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(path, markdown(found))
    return [path, beside]


def facts(
    corpus: CorpusParams, importer: ModuleType, utterances: Sequence[Utterance], labels: pd.DataFrame
) -> dict[str, Any]:
    """Return what is known about the corpus, JSON-serialisable; None where a value is unknown.

    Args:
        corpus: the corpus section of params.yaml.
        importer: the corpus's module in pipeline/corpora.
        utterances: the table of utterances, N rows.
        labels: the table of labels, N rows in the same order.
    """
    table = pd.DataFrame(
        {
            "dialogue": [u.dialogue for u in utterances],
            "speaker": [u.speaker for u in utterances],
            "text": [u.text for u in utterances],
            "seconds": _seconds(utterances, media_root(corpus.root)),
            "split": labels["split"].to_numpy(),
            "emotion": labels["emotion"].to_numpy(),
        }
    )
    target = target_of(corpus)
    table = pd.concat([table, labels[list(target.values)].reset_index(drop=True)], axis=1)
    turns = table.groupby("dialogue").size()
    spoken = table[table["speaker"] != ""]
    in_splits = spoken.groupby("speaker")["split"].nunique()
    sources = [source for u in utterances for source in {u.seen, u.heard} if source.cell]
    files = {fragments.split(source.cell).file: source.sha256 for source in sources}
    return {
        "corpus": corpus.name,
        "licence": corpus.licence,
        "languages": list(getattr(importer, "LANGUAGES", ())),
        "known_faults": list(getattr(importer, "FAULTS", ())),
        "target": target.kind,
        "labels": list(target.labels),
        **_counts(table),
        "turns_per_dialogue": {"median": float(turns.median()), "most": int(turns.max())},
        "without_text": int((table["text"].str.strip() == "").sum()),
        "without_emotion": int((table["emotion"] == "").sum()),
        "splits": {split: _part(table[table["split"] == split], target) for split in SPLITS},
        "speaker_labels": {
            str(speaker): _labels(rows, target) for speaker, rows in spoken.groupby("speaker")
        },
        "speakers_in_several_splits": sorted(in_splits.index[in_splits > 1]),
        "media_files": len(files),
        "missing_media": sorted(file for file, digest in files.items() if not digest),
    }


def markdown(found: dict[str, Any]) -> str:
    """Return the datasheet of `facts` as Markdown."""
    labels, splits = found["labels"], found["splits"]
    speakers = sorted(found["speaker_labels"].items(), key=lambda item: (-sum(item[1].values()), item[0]))
    parts = [
        f"# Datasheet: {cell(found['corpus'])}",
        table(
            ["", "value"],
            [
                ["licence", found["licence"] or "unknown"],
                ["languages", ", ".join(found["languages"]) or "unknown"],
                ["utterances", f"{found['utterances']:,}"],
                ["dialogues", f"{found['dialogues']:,}"],
                [
                    "turns per dialogue",
                    "median {median:g}, at most {most}".format(**found["turns_per_dialogue"]),
                ],
                ["speakers", f"{found['speakers']:,}" if found["speakers"] else "unknown"],
                ["duration", _duration(found)],
                ["utterances without text", f"{found['without_text']:,}"],
                ["utterances without an emotion", f"{found['without_emotion']:,}"],
                [
                    "media files",
                    f"{found['media_files']:,}, of which {len(found['missing_media']):,} are missing",
                ],
            ],
        ),
        "## Splits",
        table(
            ["split", "utterances", "dialogues", "speakers", "duration"],
            [
                [
                    split,
                    f"{part['utterances']:,}",
                    f"{part['dialogues']:,}",
                    f"{part['speakers']:,}",
                    _duration(part),
                ]
                for split, part in splits.items()
            ],
        ),
    ]
    if labels:
        rows = [[label, *(_share(part, label) for part in splits.values())] for label in labels]
        parts += ["## Labels by split", table(["label", *splits], rows)]
    if names := list(splits["train"]["values"]):
        rows = [[name, *(_spread(part["values"][name]) for part in splits.values())] for name in names]
        parts += ["## Values by split: mean ± sd", table(["value", *splits], rows)]
    if speakers and labels:
        several = found["speakers_in_several_splits"]
        parts += [
            "## Labels by speaker",
            f"The {min(SHOWN, len(speakers))} speakers with most labelled utterances, of {len(speakers):,}.",
            table(
                ["speaker", *labels],
                [[name, *(str(counts[label]) for label in labels)] for name, counts in speakers[:SHOWN]],
            ),
            f"Speakers in several splits: {_listed(several)}",
        ]
    if found["missing_media"]:
        parts += ["## Missing media", _listed(found["missing_media"])]
    faults = [f"- {fault}" for fault in found["known_faults"]]
    parts += ["## Known faults", "\n".join(faults) or "The importer lists none."]
    return "\n\n".join(parts) + "\n"


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    known = rows["seconds"].dropna()
    return {
        "utterances": len(rows),
        "dialogues": int(rows["dialogue"].nunique()),
        "speakers": int(rows.loc[rows["speaker"] != "", "speaker"].nunique()),
        "seconds": round(float(known.sum()), 3) if len(known) else None,
        "utterances_of_known_duration": len(known),
    }


def _part(rows: pd.DataFrame, target: Target) -> dict[str, Any]:
    return {**_counts(rows), "labels": _labels(rows, target), "values": _values(rows, target)}


def _labels(rows: pd.DataFrame, target: Target) -> dict[str, int]:
    """Return the number of utterances with each label; an utterance with several labels counts for each."""
    counts = Counter(label for cell in rows["emotion"] for label in target.shares(cell))
    return {label: counts[label] for label in target.labels}


def _values(rows: pd.DataFrame, target: Target) -> dict[str, dict[str, float | int | None]]:
    """Return the number of ratings of each column of `corpus.values`, with their mean, sd, least and greatest."""
    found: dict[str, dict[str, float | int | None]] = {}
    for name in target.values:
        rated = rows[name].dropna()
        spread = (rated.mean(), rated.std(ddof=0), rated.min(), rated.max()) if len(rated) else (None,) * 4
        numbers = (None if number is None else round(float(number), 4) for number in spread)
        found[name] = {
            "rated": len(rated),
            **dict(zip(("mean", "sd", "least", "greatest"), numbers, strict=True)),
        }
    return found


def _seconds(utterances: Sequence[Utterance], root: Path) -> list[float | None]:
    """Return each utterance's duration; None if it is unknown."""
    whole = {u.played.cell for u in utterances if u.played.sha256 and u.played.end is None}
    files = sorted({fragments.split(cell).file for cell in whole})
    files = [file for file in files if (root / file).is_file()]
    with ThreadPoolExecutor() as pool:
        probes = dict(zip(files, pool.map(probe, (root / file for file in files)), strict=True))
    lengths = {file: found.seconds for file, found in probes.items() if not found.error}
    return [_length(u, lengths) for u in utterances]


def _length(utterance: Utterance, lengths: dict[str, float]) -> float | None:
    place = utterance.played
    end = place.end if place.end is not None else lengths.get(fragments.split(place.cell).file)
    return None if end is None else max(end - (place.start or 0), 0.0)


def _duration(found: dict[str, Any]) -> str:
    if found["seconds"] is None:
        return "unknown"
    minutes, seconds = divmod(round(found["seconds"]), 60)
    known, count = found["utterances_of_known_duration"], found["utterances"]
    text = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return text if known == count else f"{text} for {known:,} of {count:,} utterances"


def _share(part: dict[str, Any], label: str) -> str:
    count, total = part["labels"][label], sum(part["labels"].values())
    return f"{count:,} ({100 * count / total:.1f}%)" if total else "0"


def _spread(found: dict[str, Any]) -> str:
    return f"{found['mean']:.2f} ± {found['sd']:.2f} ({found['rated']:,})" if found["rated"] else "0"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(cell, names[:SHOWN])) or "none"
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "") + "."
