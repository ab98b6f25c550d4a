"""One stream's extraction: plan → work → journal → merge.

    python -m extract STREAM       # EMOFUSE_ENGINE, _WORKERS, _DEVICE and _MEDIA say where and how

What the journal holds is not done again, so a killed run goes on where it was, an edited sentence costs the
utterances whose context it enters, and going back to old params costs a merge. The file is the same, byte
for byte, whatever the number of workers, the order in which they finished, or how often it was interrupted.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors.numpy

from extract.contract import Encoder, Failure, Item
from extract.engine import local as pool
from extract.engine.journal import Damaged, Entry, Journal, journal_path, set_aside
from extract.engine.progress import Progress
from extract.streams import WEIGHTS, encoder_of, load_checked
from pipeline.closure import ROOT, path_of
from pipeline.env import engine, workers
from pipeline.errors import UserError
from pipeline.features import Meta, Row, write
from pipeline.inputs import Inputs
from pipeline.params import FEATURES, CorpusParams
from pipeline.tables.schema import UTTERANCES, Utterance, dialogues, read_utterances

# Each repair costs a pass over the journal; a disk that damages it again and again needs a person.
REPAIRS = 5
T = TypeVar("T")
Engine = Callable[[Encoder, Iterator[list[Item]], int | None, float], Generator[list[Entry], None, None]]


def run(stream: str) -> None:
    """The stage: extract what is missing and write data/features/STREAM.h5.

    Raises:
        UserError: a mistake in params or tables, a full disk, or more failures than `max_failed` allows; what
            was extracted until then is in the journal.
    """
    engine()  # a misspelt one is told before the tables are read
    inputs = Inputs(
        ["corpus.licence", "corpus.name", f"extract.{stream}", f"finetune.{stream}"],
        [UTTERANCES, WEIGHTS / stream],
    )
    params = load_checked()
    encoder = encoder_of(stream, params)
    code = Inputs([], [ROOT / path_of(module) for module in encoder.sources()])
    plan = Plan(encoder, read_utterances())
    begin = time.monotonic()
    about = meta(stream, params.corpus, encoder)
    out = FEATURES / f"{stream}.h5"
    counts, done = fill(plan, about, journal_path(about.fingerprint), out)
    inputs.check([out])
    code.check([out])
    seconds = time.monotonic() - begin
    statuses = ", ".join(
        f"{count} {status}" for status, count in sorted(counts.items(), key=lambda c: c[0] != "ok")
    )
    print(
        f"{stream}: {len(plan)} utterances: {statuses}; extracted {done} in {seconds:.1f} s ({done / seconds:.1f}/s)"
    )
    failed = len(plan) - counts["ok"]
    if failed > encoder.params.max_failed * len(plan):
        raise UserError(
            f"{stream}: {failed} of {len(plan)} utterances have no features ({failed / len(plan):.1%}), more than "
            f"extract.{stream}.max_failed={encoder.params.max_failed:g} allows; `python -m extract status {stream}` "
            f"lists them, `python -m extract retry {stream}` tries them again; or raise max_failed, "
            "where the recordings are like that"
        )


def fill(plan: Plan, about: Meta, journal: Path, out: Path) -> tuple[Counter[str], int]:
    """Extract what the journal lacks of a plan and write the cache `out`: rows by status, how many were extracted.

    Raises:
        UserError: media that the table hashed are gone, or the disk is full.
    """
    done = 0

    def complete(journal: Journal) -> Counter[str] | None:
        nonlocal done
        done += _work(about.stream, plan, journal)
        return _merge(plan, journal, out, about)

    return repairing(journal, complete), done


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an utterance's item is, without the item: those of a whole corpus would not fit in memory.

    `failure` is set, and `key` empty, where there is no item.
    """

    first: int
    last: int
    key: str = ""
    length: int = 0
    note: str = ""
    failure: Failure | None = None


class Plan:
    """What the encoder will see of each utterance, in table order."""

    def __init__(self, encoder: Encoder, utterances: Sequence[Utterance]) -> None:
        self.encoder, self.utterances = encoder, utterances
        self.places: list[_Place] = []
        for dialogue in dialogues(utterances):
            first, last = len(self.places), len(self.places) + len(dialogue)
            for i in range(len(dialogue)):
                item = encoder.item(dialogue, i)
                if isinstance(item, Item):
                    self.places.append(_Place(first, last, item.key, item.length, item.note))
                else:
                    self.places.append(_Place(first, last, failure=item))

    def __len__(self) -> int:
        return len(self.utterances)

    def missing(self, journal: Journal) -> list[int]:
        """Rows whose items are not in the journal, each item once."""
        first: dict[str, int] = {}
        for i, place in enumerate(self.places):
            if place.key:
                first.setdefault(place.key, i)
        known = journal.known(first)
        return [i for key, i in first.items() if key not in known]

    def batches(self, rows: Sequence[int]) -> list[list[int]]:
        """Rows in batches of equal length; an item of unknown length (0) goes alone.

        Shuffled, so that the time left is told truly and that two processes that extract the same stream
        share the work. No feature depends on it.
        """
        batches: list[list[int]] = []
        for i in sorted(rows, key=lambda i: self.places[i].length):
            length = self.places[i].length
            last = batches[-1] if batches else []
            if (
                last
                and length
                and length == self.places[last[0]].length
                and len(last) < self.encoder.batch_size
            ):
                last.append(i)
            else:
                batches.append([i])
        random.shuffle(batches)
        return batches

    def item(self, i: int) -> Item:
        place = self.places[i]
        item = self.encoder.item(self.utterances[place.first : place.last], i - place.first)
        if not isinstance(item, Item) or item.key != place.key:
            raise UserError(
                f"{self.encoder.params.encoder}: utterance {self.utterances[i].utterance} has two different items"
            )
        return item


def meta(stream: str, corpus: CorpusParams, encoder: Encoder) -> Meta:
    """What a stranger must know of the file: where it comes from, and how to make it again."""
    origin, frames = encoder.provenance(), encoder.params.frames
    return Meta(
        stream=stream,
        modality=encoder.modality,
        corpus=corpus.name,
        licence=corpus.licence,
        encoder=origin["encoder"],
        weights=origin["weights"],
        weights_saw=encoder.weights_saw(),
        packages=origin["packages"],
        code=origin["code"],
        fingerprint=encoder.fingerprint(),
        pooled_dim=encoder.pooled_dim,
        frames_dim=0 if frames == "none" else encoder.frames_dim,
        frames=frames,
        pooled_names=tuple(encoder.pooled_names),
        frames_names=() if frames == "none" else tuple(encoder.frames_names),
    )


def repairing(path: Path, action: Callable[[Journal], T | None]) -> T:
    """What `action` makes of the journal; begun again where it gives None, or finds the database damaged.

    Raises:
        UserError: the database is damaged again and again.
    """
    for _ in range(REPAIRS):
        try:
            with Journal(path) as journal:
                if (result := action(journal)) is not None:
                    return result
        except Damaged:
            set_aside(path)
    raise UserError(f"{path}: found damaged {REPAIRS} times in one run; is the disk failing?")


def _work(stream: str, plan: Plan, journal: Journal) -> int:
    """Extract what the journal lacks; how many items."""
    missing = plan.missing(journal)
    if not missing:
        return 0
    absent: list[Entry] = []
    done = 0
    with (
        closing(_undone(plan, journal, missing)) as batches,
        closing(_engine()(plan.encoder, batches, workers(), plan.encoder.params.timeout)) as outcomes,
        Progress(stream, len(missing)) as progress,
    ):
        for entries in outcomes:
            # The table says that the file exists: that it does not exist here says nothing about the item.
            here = [entry for entry in entries if entry.status != "missing_file"]
            absent += [entry for entry in entries if entry.status == "missing_file"]
            journal.put(here)
            done += len(here)
            progress.add(len(entries))
    journal.commit()
    if absent:
        raise UserError(
            f"{stream}: {len(absent)} media files of data/utterances.csv are not under {plan.encoder.media} (such as: "
            f"{absent[0].error}); set corpus.root or EMOFUSE_MEDIA to the folder that holds them, or run "
            "`dvc repro --force prepare` if they have changed or are gone; all others are extracted"
        )
    return done


def _engine() -> Engine:
    if engine() == "ray":
        from extract.engine import ray as ray_engine

        return ray_engine.extract
    return pool.extract


def _undone(plan: Plan, journal: Journal, rows: Sequence[int]) -> Generator[list[Item], None, None]:
    """Batches of what is missing still: another process may have been faster."""
    for batch in plan.batches(rows):
        known = journal.known(plan.places[i].key for i in batch)
        if items := [plan.item(i) for i in batch if plan.places[i].key not in known]:
            yield items


def _merge(plan: Plan, journal: Journal, out: Path, about: Meta) -> Counter[str] | None:
    """Write the file from the journal, in table order; None where rows turned out to be damaged."""
    counts: Counter[str] = Counter()
    try:
        write(out, about, [u.utterance for u in plan.utterances], _rows(plan, journal, counts))
        return counts
    except _Lost:
        # One pass over all rows, so that many damaged ones are done again at once.
        for place in plan.places:
            if place.key:
                journal.get(place.key)
        return None


class _Lost(Exception):
    """A row that was in the journal is not there, or not whole."""


def _rows(plan: Plan, journal: Journal, counts: Counter[str]) -> Iterator[Row]:
    with closing(journal.read(place.key for place in plan.places if place.key)) as entries:
        for place in plan.places:
            if place.failure:
                row = Row("", place.failure.status, place.failure.reason)
            else:
                entry = next(entries)
                if entry is None:
                    raise _Lost
                arrays = safetensors.numpy.load(entry.payload) if entry.status == "ok" else {}
                row = Row(place.key, entry.status, entry.error or place.note, **arrays)
            counts[row.status] += 1
            yield row
