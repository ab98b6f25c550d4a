"""Poisonous items: each costs itself, with a reason, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from inspect import getgeneratorlocals
from pathlib import Path
from types import GeneratorType
from typing import Any

import pytest

from extract.contract import Item
from extract.engine import crew, local
from extract.engine.journal import Entry
from pipeline.errors import UserError
from tests.extract.fake_encoders import FakeEncoder, FakeParams
from tests.extract.project import sentences


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "extracted.log"))
    return FakeEncoder(FakeParams(encoder="fake", batch=4), tmp_path)


def items(texts: Sequence[str]) -> list[Item]:
    return [Item({"texts": [text], "media": ""}, length=1) for text in texts]


def extract(
    encoder: FakeEncoder,
    texts: Sequence[str],
    workers: int = 1,
    timeout: float = 60,
    engine: Callable[..., Iterator[list[Entry]]] = local.extract,
) -> dict[str, Entry]:
    """Outcomes by text, batches of four in the order given; every item must come back exactly once."""
    made = items(texts)
    batches = iter([made[i : i + 4] for i in range(0, len(made), 4)])
    entries = [entry for chunk in engine(encoder, batches, workers, timeout) for entry in chunk]
    text_of = {item.key: item.content["texts"][0] for item in made}
    assert sorted(entry.key for entry in entries) == sorted(text_of)
    return {text_of[entry.key]: entry for entry in entries}


def failures(entries: dict[str, Entry]) -> dict[str, str]:
    return {text: f"{e.status}: {e.error}" for text, e in entries.items() if e.status != "ok"}


def crew_behind(outcomes: Generator[list[Entry], None, None]) -> Any:
    """The engine object that a running `extract` uses."""
    assert isinstance(outcomes, GeneratorType)
    assert isinstance(outcomes.gi_yieldfrom, GeneratorType)
    return getgeneratorlocals(outcomes.gi_yieldfrom)["self"]


def test_exceptions_and_bad_values_cost_one_item_each(encoder: FakeEncoder) -> None:
    trouble = ["raise", "read-raise", "nan", "corrupt", "batch-raise"]
    assert failures(extract(encoder, [*sentences(10), *trouble, *sentences(30)[10:]])) == {
        "raise": "failed: RuntimeError: no such luck",
        "read-raise": "failed: RuntimeError: no such luck",
        "nan": "failed: 1 of 8 values of pooled are not finite",
        "corrupt": "corrupt: the file ends early",
    }


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_crashes_cost_one_item_each(encoder: FakeEncoder, workers: int) -> None:
    texts = [*sentences(6), "crash here", *sentences(20)[6:], "read-crash", *sentences(30)[20:]]
    reason = "failed: the worker died (signal 11) while extracting it"
    assert failures(extract(encoder, texts, workers)) == {"crash here": reason, "read-crash": reason}


@pytest.mark.slow
def test_hangs_cost_one_item_each(encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "LOADING_SECONDS", 0.5)
    texts = [*sentences(6), "hang", *sentences(20)[6:], "read-hang"]
    assert failures(extract(encoder, texts, timeout=3)) == dict.fromkeys(
        ("hang", "read-hang"), "failed: took longer than 3 s"
    )


@pytest.mark.slow
def test_items_beside_a_crash_are_done_at_most_twice(encoder: FakeEncoder, tmp_path: Path) -> None:
    extract(encoder, [*sentences(22), "crash", *sentences(40)[22:]])
    lines = (tmp_path / "extracted.log").read_text().split()
    assert {lines.count(text) for text in sentences(40) if text in lines} <= {1, 2}
    # Only what was encoded, decoded ahead or on its way when the worker died.
    assert sum(lines.count(text.split()[0]) == 2 for text in sentences(40)) <= 4 * crew.AHEAD


def test_a_worker_killed_from_outside_costs_nothing(
    encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    handle = local._Pool._handle

    def kill_third(self, worker, message):
        if message[0] == "encoding" and message[1] == 3 and not killed:
            killed.append(worker.process.pid)
            os.kill(worker.process.pid, signal.SIGKILL)
        return handle(self, worker, message)

    monkeypatch.setattr(local._Pool, "_handle", kill_third)
    assert failures(extract(encoder, sentences(40))) == {}
    assert killed


def test_missing_weights_end_the_run_with_their_message(encoder: FakeEncoder) -> None:
    with pytest.raises(UserError, match=r"^fake: weights are missing; run `fake download`$"):
        extract(encoder, [*sentences(6), "usererror"])


@pytest.mark.slow
def test_where_every_item_kills_its_worker_the_run_stops(encoder: FakeEncoder) -> None:
    batches = iter([[item] for item in items([f"crash {i}" for i in range(20)])])
    seen: list[Entry] = []

    def drain() -> None:
        for chunk in local.extract(encoder, batches, 2, 60):
            seen.extend(chunk)

    with pytest.raises(UserError, match="likely cause is this machine"):
        drain()
    assert seen == []  # no item is marked as failed


def test_a_worker_that_cannot_begin_ends_the_run(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    class Local(FakeEncoder):
        def __reduce__(self):
            return os._exit, (7,)

    with pytest.raises(UserError, match=r"ended \(exit code 7\) before it started"):
        extract(Local(FakeParams(encoder="fake"), tmp_path), sentences(3))


def test_workers_end_with_the_engine_and_it_asks_for_no_more_batches_than_it_gives(
    encoder: FakeEncoder,
) -> None:
    asked = done = 0

    def endless() -> Iterator[list[Item]]:
        nonlocal asked
        while True:
            asked += 1
            yield items([f"item {asked}"])

    outcomes = local.extract(encoder, endless(), 2, 60)
    while done < 30:
        chunk = len(next(outcomes))
        assert asked <= done + chunk + 2 * crew.AHEAD
        done += chunk
    workers = [w.process.pid for w in crew_behind(outcomes).workers]
    outcomes.close()
    assert len(workers) == 2
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_the_engine_ticks_while_nothing_happens(encoder: FakeEncoder) -> None:
    ticks = [not chunk for chunk in local.extract(encoder, iter([items(["sleep=2"])]), 1, 60)]
    assert sum(ticks) > 5


def test_decoding_overlaps_with_encoding(encoder: FakeEncoder, tmp_path: Path) -> None:
    # Each is encoded until the next one is being read.
    made = items([f"read-touch={tmp_path}/{i} await={tmp_path}/{i + 1}" for i in range(9)])
    made += items([f"read-touch={tmp_path}/9"])
    outcomes = local.extract(encoder, iter([[item] for item in made]), 1, 60)
    assert [entry.status for chunk in outcomes for entry in chunk] == ["ok"] * 10


@pytest.mark.slow
def test_every_library_computes_on_one_thread(encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert failures(extract(encoder, ["threads"])) == {"threads": "failed: ValueError: torch 1, cv2 1"}
    assert "OMP_NUM_THREADS" not in os.environ
