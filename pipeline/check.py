"""Report on a corpus for `python -m pipeline.prepare --check`: counts, and media that cannot give features.

Counts per split and emotion are shown beside the published ones. All media are opened and their audio is decoded, which
takes a few minutes for MELD. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from pipeline import fragments, prepare
from pipeline.env import media_root
from pipeline.params import PARAMS, CorpusParams
from pipeline.probe import STEP, Probe, probe
from pipeline.strict import validate
from pipeline.tables.schema import SPLITS, UTTERANCE_COLUMNS, Source, Utterance
from pipeline.tables.target import target_of
from pipeline.transcribe.params import TranscribeParams

# Seconds; a longer turn is usually a cutting mistake.
LONG = 60.0
# Seconds; cutting by time is inexact by a frame or a block of audio, which is always less.
OTHER = 0.5
SHOWN = 10


def report(corpus: CorpusParams, pictures: bool, listen: bool = False) -> str:
    """Return the report, one finding per line.

    Args:
        corpus: the corpus section of params.yaml.
        pictures: whether to report files without video.
        listen: whether to recognise the words in the sound and compare them with the text.

    Raises:
        UserError: if the annotation files are invalid; the message lists the errors. With `listen`, also if the
            recogniser is missing.
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
    root = media_root(corpus.root)
    lines += _media(table[(table["media"] != "") | (table["audio"] != "")], root, pictures)
    if listen:
        from pipeline.listen import strangers

        texts = dict(zip(table["utterance"], table["text"], strict=True))
        heard = [use for use in _uses(table) if use.heard and (root / use.file.file).is_file()]
        params = validate(TranscribeParams, corpus.transcribe, PARAMS, "corpus.transcribe")
        found = strangers([(use.utterance, use.source, texts[use.utterance]) for use in heard], root, params)
        lines += _listed("other words in the sound than in the text", found)
    return "\n".join(lines)


def _counts(table: pd.DataFrame, corpus: CorpusParams) -> list[str]:
    target = target_of(corpus)
    parts = {**{split: table[table["split"] == split] for split in SPLITS}, "all": table}
    # An utterance with several labels counts for each of them.
    counts = {
        name: Counter(label for cell in part["emotion"] for label in target.shares(cell))
        for name, part in parts.items()
    }
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
    for value in corpus.values:
        for name, part in parts.items():
            rated = part[value].dropna()
            spread = f", mean {rated.mean():.2f}, sd {rated.std():.2f}, {rated.min():g} to {rated.max():g}"
            lines.append(f"{value} in {name}: {len(rated):,} rated" + spread * (len(rated) > 1))
    return lines


class Use(NamedTuple):
    """A file that an utterance uses.

    Attributes:
        utterance: the utterance's id.
        source: the cell and the seconds.
        seen: whether the pictures are taken from it.
        heard: whether the sound is taken from it.
    """

    utterance: str
    source: Source
    seen: bool
    heard: bool

    @property
    def file(self) -> fragments.Cell:
        """The cell in its parts."""
        return fragments.split(self.source.cell)

    def length(self, found: Probe) -> float:
        """Return the span's length in seconds."""
        return (found.seconds if self.source.end is None else self.source.end) - (self.source.start or 0)

    def shown(self, found: Probe) -> str:
        """Return utterance, cell and length for the report."""
        return f"{self.utterance} ({self.source.cell}, {self.length(found):.1f} s)"


def _uses(table: pd.DataFrame) -> Iterator[Use]:
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        about = {name: row[name] for name in UTTERANCE_COLUMNS if name != "media_hash"}
        utterance = Utterance(**about, media_hash="", audio=row["audio"])
        if utterance.media:
            yield Use(utterance.utterance, utterance.seen, seen=True, heard=not utterance.audio)
        if utterance.audio:
            yield Use(utterance.utterance, utterance.heard, seen=False, heard=True)


def _media(table: pd.DataFrame, root: Path, pictures: bool) -> list[str]:
    uses = list(_uses(table))
    files = {use.file.file: root / use.file.file for use in uses}
    there = [path for path in files.values() if path.is_file()]
    lines = [f"media: {len(there):,} of {len(files):,} files found under {root}"]
    with ThreadPoolExecutor() as pool:
        bar = tqdm(pool.map(probe, there), total=len(there), desc="media", unit="file", disable=not there)
        probes = dict(zip(there, bar, strict=True))
    found = [(use, probes[files[use.file.file]]) for use in uses if files[use.file.file] in probes]
    good = [(use, about) for use, about in found if not about.error]
    sounds = [(use, about) for use, about in good if use.heard and about.loudness is not None]
    missing = [use.source.cell for use in uses if files[use.file.file] not in probes]
    lines += _listed("missing files", dict.fromkeys(missing))
    broken = [f"{use.source.cell} ({about.error})" for use, about in found if about.error]
    lines += _listed("undecodable files", dict.fromkeys(broken))
    mute = [use.source.cell for use, about in good if use.heard and about.loudness is None]
    lines += _listed("without a sound track", dict.fromkeys(mute))
    lacking = [use.source.cell for use, about in sounds if not about.has(use.file.channel)]
    if lacking:
        lines += _listed("without the channel that their row names", dict.fromkeys(lacking))
    if pictures:
        blind = [use.source.cell for use, about in good if use.seen and not about.pictures]
        lines += _listed("without a picture", dict.fromkeys(blind))
    silent = [
        use.shown(about)
        for use, about in sounds
        if about.has(use.file.channel) and about.silent(use.source.start, use.source.end, use.file.channel)
    ]
    lines += _listed("silent", silent)
    late = [use.shown(about) for use, about in good if use.source.start and use.source.start >= about.seconds]
    lines += _listed("begin after their file's end", late)
    cut = [
        use.shown(about)
        for use, about in good
        if (use.source.start or 0) < about.seconds < (use.source.end or 0) - STEP
    ]
    lines += _listed("end after their file's end", cut)
    lines += _apart(good)
    lines += _stated(table, {use.utterance: about for use, about in good if use.seen})
    long = [use.shown(about) for use, about in good if use.length(about) > LONG]
    lines += _listed(f"longer than {LONG:g} s", long)
    lines += _listed("extra files, used by no utterance", _extra(set(files.values()), table["place"]))
    return lines


def _apart(good: list[tuple[Use, Probe]]) -> list[str]:
    """Report sound in its own file whose span is longer or shorter than that of the pictures."""
    pictures = {use.utterance: use.length(about) for use, about in good if use.seen and not use.heard}
    sounds = [(use, about) for use, about in good if not use.seen and use.utterance in pictures]
    if not sounds:
        return []
    found = [
        use.shown(about) for use, about in sounds if abs(use.length(about) - pictures[use.utterance]) > OTHER
    ]
    return _listed(f"sound differs from its pictures by more than {OTHER:g} s", found)


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
