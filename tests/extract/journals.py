"""Journals for the tests."""

from __future__ import annotations

import random
from pathlib import Path

from extract.engine.journal import Damaged, Entry, Journal, set_aside


def rows(count: int, size: int = 700) -> list[Entry]:
    rng = random.Random(count)
    made = [Entry(f"{i:064x}", "ok", "", rng.randbytes(size)) for i in range(count)]
    return [e if i % 5 else Entry(e.key, "no_face", f"no face in {i}", b"") for i, e in enumerate(made)]


def fill(path: Path, entries: list[Entry]) -> None:
    with Journal(path) as db:
        db.put(entries)


def recovered(path: Path, entries: list[Entry]) -> int:
    """How many rows came through; every one that did must be right, and after a few rounds all are there."""
    kept = None
    for _ in range(4):
        try:
            with Journal(path) as db:
                keys = [e.key for e in entries]
                found = dict(zip(keys, db.read(keys), strict=True))
                assert all(found[e.key] in (e, None) for e in entries)
                lost = [e for e in entries if found[e.key] is None]
                kept = len(entries) - len(lost) if kept is None else kept
                if not lost:
                    return kept
                # As a run does: what the journal says it has is not done again.
                known = db.known(e.key for e in lost)
                db.put([e for e in lost if e.key not in known])
        except Damaged:
            set_aside(path)
    raise AssertionError("still not whole after four rounds")
