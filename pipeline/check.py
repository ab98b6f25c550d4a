"""Report on a corpus for `python -m pipeline.prepare --check`: counts, and media that cannot give features.

Counts per split and emotion are shown beside the published ones. All media are opened and their audio is decoded, which
takes a few minutes for MELD. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from pipeline import fragments, prepare
from pipeline.env import media_root
from pipeline.params import CorpusParams
from pipeline.probe import STEP, Probe, probe
from pipeline.tables.schema import SPLITS

# Seconds; a longer turn is usually a cutting mistake.
LONG = 60.0
# Seconds; cutting by time is inexact by a frame or a block of audio, which is always less.
OTHER = 0.5
SHOWN = 10


def report(corpus: CorpusParams, pictures: bool) -> str:
    """Return the report, one finding per line.

    Args:
        corpus: the corpus section of params.yaml.
        pictures: whether to report files without video.

    Raises:
        UserError: if the annotation files are invalid; the message lists the errors.
    """
    utterances, labels = prepare.read(corpus)
    table = utterances.merge(labels, on="utterance")
    lines = [
        f"{corpus.name}: {len(table):,} utterances, {table['dialogue'].nunique():,} dialogues, "
        f"{table['speaker'].nunique():,} speakers"
    ]
    lines += _counts(table, corpus)
    lines += prepare.notes(corpus)
    lines += _listed("utterances without text", table.loc[table["text"].str.strip() == "", "utterance"])
    lines += _listed("utterances without an emotion", table.loc[table["emotion"] == "", "utterance"])
    splits = table[table["speaker"] != ""].groupby("speaker")["split"].nunique()
    lines += _listed("speakers in more than one split", splits.index[splits > 1])
    lines += _media(table[table["media"] != ""], media_root(corpus.root), pictures)
    return "\n".join(lines)


def _counts(table: pd.DataFrame, corpus: CorpusParams) -> list[str]:
    counts = {
        split: table.loc[table["split"] == split, "emotion"].value_counts().to_dict() for split in SPLITS
    }
    counts["all"] = table["emotion"].value_counts().to_dict()
    importer = prepare.module(corpus)
    published: dict[str, dict[str, int]] = (
        importer.published(corpus) if hasattr(importer, "published") else {}
    )
    lines = ["".join(f"{word:>13}" for word in ["", *corpus.labels, "total"])]
    for split, found in counts.items():
        numbers = [found.get(name, 0) for name in corpus.labels]
        lines.append("".join(f"{word:>13}" for word in [split, *numbers, sum(found.values())]))
        if split in published:
            paper = [published[split].get(name, 0) for name in corpus.labels]
            lines.append("".join(f"{word:>13}" for word in ["published", *paper, sum(paper)]))
            differ = [name for name, a, b in zip(corpus.labels, numbers, paper, strict=True) if a != b]
            if differ:
                lines.append(f"DIFFERS from the published counts in {split}: {', '.join(differ)}")
    return lines


def _media(table: pd.DataFrame, root: Path, pictures: bool) -> list[str]:
    files = {media: root / fragments.split(media)[0] for media in table["media"].unique()}
    there = [path for path in dict.fromkeys(files.values()) if path.is_file()]
    lines = [f"media: {len(there):,} of {len(set(files.values())):,} files found under {root}"]
    with ThreadPoolExecutor() as pool:
        bar = tqdm(pool.map(probe, there), total=len(there), desc="media", unit="file", disable=not there)
        probes = dict(zip(there, bar, strict=True))
    spans = table[["start", "end"]].astype(object).where(table[["start", "end"]].notna(), None)
    rows = [
        (name, media, files[media], start, end)
        for name, media, start, end in zip(
            table["utterance"], table["media"], spans["start"], spans["end"], strict=True
        )
    ]
    found = [(u, media, probes[path], start, end) for u, media, path, start, end in rows if path in probes]
    good = [row for row in found if not row[2].error]
    lines += _listed("missing files", dict.fromkeys(m for _, m, path, _, _ in rows if path not in probes))
    lines += _listed(
        "undecodable files", dict.fromkeys(f"{m} ({p.error})" for _, m, p, _, _ in found if p.error)
    )
    lines += _listed(
        "without a sound track", dict.fromkeys(m for _, m, p, _, _ in good if p.loudness is None)
    )
    if pictures:
        lines += _listed("without a picture", dict.fromkeys(m for _, m, p, _, _ in good if not p.pictures))
    lines += _listed(
        "silent", [_span(*r) for r in good if r[2].loudness is not None and r[2].silent(r[3], r[4])]
    )
    lines += _listed(
        "begin after their file's end", [_span(*r) for r in good if r[3] and r[3] >= r[2].seconds]
    )
    lines += _listed(
        "end after their file's end",
        [_span(*r) for r in good if (r[3] or 0) < r[2].seconds < (r[4] or 0) - STEP],
    )
    lines += _stated(table, {u: p for u, _, p, _, _ in good})
    lines += _listed(f"longer than {LONG:g} s", [_span(*r) for r in good if _length(*r[2:]) > LONG])
    lines += _listed("extra files, used by no utterance", _extra(set(files.values()), table["place"]))
    return lines


def _stated(table: pd.DataFrame, probes: dict[str, Probe]) -> list[str]:
    """Report files whose duration contradicts the annotation: they may contain a different utterance."""
    said = table[table["stated"].notna() & table["utterance"].isin(probes.keys())]
    if said.empty:
        return []
    found = [
        f"{name} ({media}, {probes[name].seconds:.1f} s, annotated {stated:.1f} s)"
        for name, media, stated in zip(said["utterance"], said["media"], said["stated"], strict=True)
        if abs(probes[name].seconds - stated) > OTHER
    ]
    return _listed(f"differ from their annotation by more than {OTHER:g} s", found)


def _length(found: Probe, start: float | None, end: float | None) -> float:
    return (found.seconds if end is None else end) - (start or 0)


def _span(utterance: str, media: str, found: Probe, start: float | None, end: float | None) -> str:
    return f"{utterance} ({media}, {_length(found, start, end):.1f} s)"


def _extra(files: set[Path], places: Iterable[str]) -> list[str]:
    folders = sorted({path.parent for path in files if path.parent.is_dir()})
    annotations = {Path(file).resolve() for file in {place.rpartition(":")[0] for place in places}}
    return [
        str(path)
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.is_file() and path not in files and path.resolve() not in annotations
    ]


def _listed(what: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    shown = ", ".join(found[:SHOWN]) + ", …" * (len(found) > SHOWN)
    return [f"{what}: {len(found):,}" + f": {shown}" * (len(found) > 0)]
