"""Extract one stream: plan → work → journal → merge.

    python -m extract STREAM       # EMOFUSE_ENGINE, _WORKERS, _DEVICE and _MEDIA choose the resources

Items in the journal are not extracted again. So a killed run resumes, an edited sentence costs only the utterances
whose context contains it, and a return to earlier params costs only a merge. The file has the same bytes for any number
of workers, any order in which they finish, and any number of interruptions.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import safetensors.numpy

from extract.contract import Encoder, Item
from extract.engine import local
from extract.engine.journal import Damaged, Entry, Journal, journal_path, set_aside
from extract.engine.plan import Plan
from extract.streams import WEIGHTS, encoder_of, load_checked
from pipeline.closure import ROOT, path_of
from pipeline.env import engine, workers
from pipeline.errors import UserError
from pipeline.features import Meta, Row, write
from pipeline.inputs import Inputs
from pipeline.params import FEATURES, CorpusParams
from pipeline.progress import Progress
from pipeline.tables.schema import UTTERANCES, read_utterances

# Upper limit of repairs per run. A disk that damages the journal again and again must be replaced.
REPAIRS = 5
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
Engine = Callable[[Encoder[Any], Iterator[list[Item]], int | None, float], Generator[list[Entry], None, None]]


def run(stream: str) -> None:
    """Run the stage of a stream: extract the items that the journal lacks and write data/features/STREAM.h5.

    Raises:
        UserError: params or tables are invalid, the disk is full, or more utterances failed than `max_failed` allows.
            Items extracted before the error are in the journal.
    """
    engine()  # reports an unknown EMOFUSE_ENGINE before the tables are read
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
        section = "finetune" if stream in params.finetune else "extract"
        raise UserError(
            f"{stream}: {failed} of {len(plan)} utterances have no features ({failed / len(plan):.1%}), more than "
            f"{section}.{stream}.max_failed={encoder.params.max_failed:g}; run `python -m extract status {stream}` "
            f"to list them and `python -m extract retry {stream}` to try them again, or raise max_failed if the "
            "recordings are known to be faulty"
        )


def fill(plan: Plan, about: Meta, journal: Path, out: Path) -> tuple[Counter[str], int]:
    """Extract the items of a plan that the journal lacks, and write the feature file `out`.

    Args:
        plan: the items.
        about: metadata of the file.
        journal: path of the journal.
        out: path of the feature file.

    Returns:
        The number of rows by status, and the number of items extracted.

    Raises:
        UserError: media files that data/utterances.csv lists are missing, or the disk is full.
    """
    steps = filling(plan, about, journal, out, workers())
    return side_by_side({about.stream: steps})[about.stream]


def filling(
    plan: Plan, about: Meta, journal: Path, out: Path, count: int | None
) -> Generator[None, None, tuple[Counter[str], int]]:
    """Do the work of `fill` in steps of about `TICK_SECONDS`, and return what it returns.

    Args:
        plan: the items.
        about: metadata of the file.
        journal: path of the journal.
        out: path of the feature file.
        count: number of workers; None: as many as the engine allows.

    Raises:
        UserError: media files that data/utterances.csv lists are missing, or the disk is full.
    """
    done = 0
    for _ in range(REPAIRS):
        with _whole(journal) as opened:
            done += yield from _work(about.stream, plan, opened, count)
            if (counts := _merge(plan, opened, out, about)) is not None:
                return counts, done
    raise _worn(journal)


def side_by_side(runs: Mapping[K, Generator[None, None, T]]) -> dict[K, T]:
    """Advance generators in turn until each has returned; return what they returned. If one raises, close them all."""
    found: dict[K, T] = {}
    with ExitStack() as stack:
        for steps in runs.values():
            stack.enter_context(closing(steps))
        while len(found) < len(runs):
            for name in [name for name in runs if name not in found]:
                try:
                    next(runs[name])
                except StopIteration as end:
                    found[name] = end.value
    return found


def meta(stream: str, corpus: CorpusParams, encoder: Encoder[Any]) -> Meta:
    """Return the metadata of a feature file: its origin, and everything needed to reproduce it."""
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
    """Return the result of `action` on the journal. Repeat it if it returns None or finds the database damaged.

    Args:
        path: path of the journal, which is repaired if it is damaged.
        action: receives the open journal; returns None if rows were damaged.

    Raises:
        UserError: the journal was damaged `REPAIRS` times.
    """
    for _ in range(REPAIRS):
        with _whole(path) as journal:
            if (result := action(journal)) is not None:
                return result
    raise _worn(path)


@contextmanager
def _whole(path: Path) -> Iterator[Journal]:
    """Open a journal; if its database is damaged, set it aside and leave the block."""
    try:
        with Journal(path) as journal:
            yield journal
    except Damaged:
        set_aside(path)


def _worn(path: Path) -> UserError:
    return UserError(f"{path}: damaged {REPAIRS} times in one run; check the disk, then run again")


def _work(stream: str, plan: Plan, journal: Journal, count: int | None) -> Generator[None, None, int]:
    """Extract the items that the journal lacks, in steps; return their number."""
    missing = plan.missing(journal)
    if not missing:
        return 0
    absent: list[Entry] = []
    done = 0
    with (
        closing(_undone(plan, journal, missing)) as batches,
        closing(_engine()(plan.encoder, batches, count, plan.encoder.params.timeout)) as outcomes,
        Progress(stream, len(missing)) as progress,
    ):
        for entries in outcomes:
            # The table lists these files, so they exist elsewhere. Their absence here must not enter the journal.
            here = [entry for entry in entries if entry.status != "missing_file"]
            absent += [entry for entry in entries if entry.status == "missing_file"]
            journal.put(here)
            done += len(here)
            progress.add(len(entries))
            yield
    journal.commit()
    if absent:
        raise UserError(
            f"{stream}: {len(absent)} media files of data/utterances.csv are not under {plan.encoder.media} (for "
            f"example: {absent[0].error}); set corpus.root or EMOFUSE_MEDIA to their folder, or, if the files were "
            "changed or deleted, run `dvc repro --force prepare`; all other items are in the journal"
        )
    return done


def _engine() -> Engine:
    if engine() == "ray":
        from extract.engine import ray as ray_engine

        return ray_engine.extract
    return local.extract


def _undone(plan: Plan, journal: Journal, rows: Sequence[int]) -> Generator[list[Item], None, None]:
    """Yield batches of missing items, without those that another process has extracted meanwhile."""
    for batch in plan.batches(rows):
        known = journal.known(plan.places[i].key for i in batch)
        if items := [plan.item(i) for i in batch if plan.places[i].key not in known]:
            yield items


def _merge(plan: Plan, journal: Journal, out: Path, about: Meta) -> Counter[str] | None:
    """Write the feature file from the journal, in table order; return rows by status, or None if rows were damaged."""
    counts: Counter[str] = Counter()
    try:
        write(out, about, [u.utterance for u in plan.utterances], _rows(plan, journal, counts))
        return counts
    except _Lost:
        # `get` deletes a damaged row. One pass over all rows finds all of them, so one more extraction suffices.
        for place in plan.places:
            if place.key:
                journal.get(place.key)
        return None


class _Lost(Exception):
    """A row of the journal is missing or damaged."""


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
