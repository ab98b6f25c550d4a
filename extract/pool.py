"""The local engine: worker processes on this machine, each with a copy of the encoder.

A worker that dies or overruns the time limit costs the one item that did it: what it was about to touch is
tried again one item at a time, alone in a worker, and the item that kills that one too is `failed`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from extract.contract import Encoder, Failure, Item
from extract.journal import Entry
from extract.worker import entry, serve
from pipeline.errors import UserError

# One batch is encoded, one decoded, one waits: enough that neither thread of a worker is ever idle.
AHEAD = 3
TICK_SECONDS = 0.1
# A worker's first batch also imports the encoder's packages and loads its weights.
LOADING_SECONDS = 300.0
# So many items killed their worker and none came through: then it is not the items.
HOPELESS = 5
# How often a sum is split decides its last bit, so every library computes on one thread.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
     "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
) | {"TOKENIZERS_PARALLELISM": "false"}  # fmt: skip


def extract(
    encoder: Encoder, batches: Iterator[list[Item]], workers: int, timeout: float
) -> Generator[list[Entry], None, None]:
    """Outcomes of all items, in the order in which they come; an empty list every tick in which none does.

    This signature is the contract of an engine. Each batch goes to `encode` as it is. Memory: at most
    `AHEAD` batches a worker are under way, and `batches` is asked for no more.

    Args:
        workers: how many processes, each of them one thread of computation.
        timeout: seconds that one item, or one batch, may take.

    Raises:
        UserError: a worker cannot work at all (weights missing, broken installation).
    """
    pool = _Pool(encoder, batches, workers, timeout)
    try:
        yield from pool.run()
    finally:
        pool.close()


@dataclass
class _Task:
    """Items on their way. `alone`: they, or rather it, is suspected of having killed a worker."""

    items: list[Item]
    alone: bool = False


@dataclass
class _Worker:
    """A worker process, and what it was last heard to be doing (since when)."""

    process: Any
    conn: Any
    tasks: dict[int, _Task] = field(default_factory=dict)
    reading: tuple[int, int, float] | None = None
    encoding: tuple[int, float] | None = None
    started: bool = False
    loaded: bool = False
    last_words: str = ""

    def give(self, number: int, task: _Task) -> None:
        self.tasks[number] = task
        with suppress(OSError):  # where it has died, reading from it will tell
            self.conn.send((number, task.items))

    def suspects(self) -> list[tuple[int, int]]:
        """(task, position) of the items being read or encoded; of all it has, where that is not known."""
        found = [(self.reading[0], self.reading[1])] if self.reading else []
        if self.encoding:
            found += [(self.encoding[0], i) for i in range(len(self.tasks[self.encoding[0]].items))]
        return found or [(number, i) for number, task in self.tasks.items() for i in range(len(task.items))]

    def overdue(self, timeout: float) -> bool:
        """Whether what it does takes too long; then forgets the one of the two threads that does not."""
        now = time.monotonic()
        limit = timeout if self.loaded else timeout + LOADING_SECONDS
        if self.reading and now - self.reading[2] > timeout:
            self.encoding = None
            return True
        if self.encoding and now - self.encoding[1] > limit:
            self.reading = None
            return True
        return False


class _Pool:
    def __init__(self, encoder: Encoder, batches: Iterator[list[Item]], workers: int, timeout: float) -> None:
        self.encoder, self.batches, self.count, self.timeout = encoder, batches, workers, timeout
        self.context = multiprocessing.get_context("spawn")
        self.workers: list[_Worker] = []
        self.numbers = itertools.count()
        self.again: deque[_Task] = deque()
        self.suspected: deque[_Task] = deque()
        self.killers = 0
        self.hopeful = False

    def run(self) -> Iterator[list[Entry]]:
        while True:
            self._feed()
            if not any(worker.tasks for worker in self.workers):
                return
            yield self._collect()
            if self.killers >= HOPELESS and not self.hopeful:
                raise UserError(
                    f"{self.killers} items one after the other killed or blocked their worker and none came through: "
                    "the cause is rather this machine (memory, drivers) than the files; they count as failed, and "
                    "`python -m extract retry STREAM` tries them again once it is mended"
                )

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.conn.close()
        self.workers = []

    def _feed(self) -> None:
        for depth in range(AHEAD):
            for worker in self.workers:
                if len(worker.tasks) <= depth and not any(task.alone for task in worker.tasks.values()):
                    if (task := self._next(idle=not worker.tasks)) is None:
                        continue
                    worker.give(next(self.numbers), task)
            while len(self.workers) < self.count and (task := self._next(idle=True)):
                self.workers.append(self._start())
                self.workers[-1].give(next(self.numbers), task)

    def _next(self, idle: bool) -> _Task | None:
        if idle and self.suspected:
            return self.suspected.popleft()
        if self.again:
            return self.again.popleft()
        items = next(self.batches, None)
        return _Task(items) if items else None

    def _start(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=serve, args=(theirs, self.encoder), daemon=True)
        with _environment():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _collect(self) -> list[Entry]:
        entries: list[Entry] = []
        ready = wait([worker.conn for worker in self.workers], TICK_SECONDS)
        for worker in [worker for worker in self.workers if worker.conn in ready]:
            try:
                while worker.conn.poll():
                    entries += self._hear(worker, worker.conn.recv())
            except (EOFError, OSError):
                entries += self._lost(worker, None)
        for worker in [worker for worker in self.workers if worker.overdue(self.timeout)]:
            entries += self._lost(worker, f"took longer than {self.timeout:g} s")
        return entries

    def _hear(self, worker: _Worker, message: tuple) -> list[Entry]:
        match message:
            case ("started",):
                worker.started = True
            case ("reading", number, i):
                worker.reading = (number, i, time.monotonic())
            case ("read", _):
                worker.reading = None
            case ("encoding", number):
                worker.encoding = (number, time.monotonic())
            case ("dying", reason):
                worker.last_words = reason
            case ("error", text):
                raise UserError(text)
            case ("done", number, entries):
                worker.encoding, worker.loaded, self.hopeful = None, True, True
                del worker.tasks[number]
                return entries
        return []

    def _lost(self, worker: _Worker, reason: str | None) -> list[Entry]:
        """Replace a dead or overdue worker: blame one item, or suspect several; the rest is done again."""
        worker.process.kill()
        worker.process.join()
        worker.conn.close()
        self.workers.remove(worker)
        if not worker.started:
            raise UserError(
                f"a worker process {_end(worker)} before it could begin; its own message stands above"
            )
        suspects = worker.suspects()
        # A death may come from outside (out of memory), a single item that takes too long has no such excuse.
        certain = reason is not None and len(suspects) == 1
        guilty = []
        for number, task in worker.tasks.items():
            mine = {i for n, i in suspects if n == number}
            if certain or task.alone:
                guilty += [task.items[i] for i in mine]
            else:
                self.suspected += [_Task([task.items[i]], alone=True) for i in sorted(mine)]
            if rest := [item for i, item in enumerate(task.items) if i not in mine]:
                self.again.append(_Task(rest))
        self.killers += len(guilty)
        reason = reason or f"the worker {_end(worker)} while extracting it"
        return [entry(item, Failure("failed", reason), self.encoder) for item in guilty]


def _end(worker: _Worker) -> str:
    code = worker.process.exitcode
    if worker.last_words:
        return f"died ({worker.last_words})"
    return f"died (signal {-code})" if code < 0 else f"ended (exit code {code})"


@contextmanager
def _environment() -> Iterator[None]:
    """What a child inherits: one thread per library, and deafness to Ctrl-C, which its parent handles."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
