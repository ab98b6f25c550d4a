"""What every engine does with its workers: hand out items, hear, and find out who is to blame.

A worker that dies or overruns the time limit costs the one item that did it: what it was about to touch is
tried again one item at a time, alone in a worker, and the item that kills that one too is `failed`. What the
machine is to blame for (memory, disk, a missing library) is tried again the same way, but then ends the run: no
item is `failed` for it. Where workers run, how they start and how one tells that they are gone is the engine's own
(pool.py, ray_engine.py).
"""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from extract.contract import Encoder, Failure, Item
from extract.engine.journal import Entry
from extract.engine.worker import entry
from pipeline.errors import UserError

# One batch is encoded, one decoded, one waits: enough that neither thread of a worker is ever idle. (One more for each
# further thread that decodes.)
AHEAD = 3
TICK_SECONDS = 0.1
# No tick counts for more: what lies beyond was not worked, since this process was stopped or the machine slept.
LONGEST_TICK_SECONDS = 1.0
# What a worker reads and encodes first also imports the encoder's packages and loads its weights.
LOADING_SECONDS = 300.0
# So many items killed their worker and none came through: then it is not the items.
HOPELESS = 5


@dataclass
class Task:
    """Items on their way. `losses`: how many workers the one item of it may have killed."""

    items: list[Item]
    losses: int = 0

    @property
    def alone(self) -> bool:
        return self.losses > 0


@dataclass
class Worker:
    """A worker, and what it was last heard to be doing (since when, by its own clock).

    Attributes:
        where: its node, where there are several.
        device: its GPU, where the engine gave it one.
        clock: seconds that it could work: stopped, or the machine asleep, it ages no more.
        short: its last words told of a lack of the machine.
        killed: it ended by SIGKILL.
    """

    process: Any
    conn: Connection
    where: str = ""
    device: str = ""
    tasks: dict[int, Task] = field(default_factory=dict)
    clock: float = 0.0
    reading: dict[int, tuple[int, float]] = field(default_factory=dict)
    encoding: tuple[int, float] | None = None
    started: bool = False
    read: bool = False
    loaded: bool = False
    last_words: str = ""
    short: bool = False
    killed: bool = False

    def give(self, number: int, task: Task) -> None:
        self.tasks[number] = task
        with suppress(OSError):  # where it has died, reading from it will tell
            self.conn.send((number, task.items))

    def suspects(self) -> list[tuple[int, int]]:
        """(task, position) of the items being read or encoded; of all it has, where that is not known."""
        found = [(number, i) for number, (i, _) in self.reading.items()]
        if self.encoding:
            found += [(self.encoding[0], i) for i in range(len(self.tasks[self.encoding[0]].items))]
        return found or [(number, i) for number, task in self.tasks.items() for i in range(len(task.items))]

    def overdue(self, timeout: float) -> bool:
        """Whether something that it does takes too long; then forgets what else it does."""
        for number, (i, since) in self.reading.items():
            if self.clock - since > timeout + LOADING_SECONDS * (not self.read):
                self.reading, self.encoding = {number: (i, since)}, None
                return True
        if self.encoding and self.clock - self.encoding[1] > timeout + LOADING_SECONDS * (not self.loaded):
            self.reading = {}
            return True
        return False


class Crew(ABC):
    """The workers of one extraction, of any engine.

    Memory: at most `AHEAD` batches a worker are under way, and `batches` is asked for no more.
    """

    # How many threads of each worker decode.
    decoders = 1
    # How many workers an item may lose while it is alone in them before it is blamed.
    chances = 1

    def __init__(self, encoder: Encoder, batches: Iterator[list[Item]], timeout: float) -> None:
        self.encoder, self.batches, self.timeout = encoder, batches, timeout
        self.workers: list[Worker] = []
        self.numbers = itertools.count()
        self.again: deque[Task] = deque()
        self.suspected: deque[Task] = deque()
        self.exhausted = False
        self.blamed: list[Entry] = []
        self.hopeful = False
        self.ticked = time.monotonic()

    @abstractmethod
    def vacant(self) -> bool:
        """Whether `start` would give a worker at once."""

    @abstractmethod
    def start(self) -> Worker:
        """One more worker."""

    @abstractmethod
    def stopped(self, worker: Worker) -> bool:
        """Whether a worker is there, but not allowed to run (Ctrl-Z, SIGSTOP)."""

    @abstractmethod
    def end(self, worker: Worker) -> str:
        """Make sure that a worker is gone; how it ended, in words."""

    @abstractmethod
    def close(self) -> None:
        """End all workers."""

    def run(self) -> Iterator[list[Entry]]:
        """Outcomes of all items as they come; an empty list every tick in which none does. No worker outlives it.

        Raises:
            UserError: the machine cannot do the work; no item is blamed for it.
        """
        try:
            while True:
                self._feed()
                if not self.busy():
                    yield self.blamed
                    return
                entries = self._collect()
                # While nothing has come through it may be the machine that kills workers: blame waits.
                if self.hopeful:
                    entries, self.blamed = entries + self.blamed, []
                yield entries
                if len(self.blamed) >= HOPELESS:
                    raise UserError(
                        f"{len(self.blamed)} items one after the other killed or blocked their worker and none came "
                        f"through (the last one: {self.blamed[-1].error}): the cause is rather this machine (memory, "
                        "drivers) than the files; mend it and run again"
                    )
        finally:
            self.close()

    def busy(self) -> bool:
        """Whether anything is left to do."""
        waiting = not self.exhausted or self.again or self.suspected
        return bool(waiting) or any(worker.tasks for worker in self.workers)

    def _feed(self) -> None:
        for depth in range(AHEAD - 1 + self.decoders):
            for worker in self.workers:
                if len(worker.tasks) <= depth and not any(task.alone for task in worker.tasks.values()):
                    if (task := self._next(idle=not worker.tasks)) is None:
                        continue
                    worker.give(next(self.numbers), task)
            while self.vacant() and (task := self._next(idle=True)):
                self.workers.append(self.start())
                self.workers[-1].give(next(self.numbers), task)

    def _next(self, idle: bool) -> Task | None:
        if idle and self.suspected:
            return self.suspected.popleft()
        if self.again:
            return self.again.popleft()
        items = next(self.batches, None)
        self.exhausted = items is None
        return Task(items) if items else None

    def _collect(self) -> list[Entry]:
        entries: list[Entry] = []
        ready = wait([worker.conn for worker in self.workers], TICK_SECONDS)
        for worker in [worker for worker in self.workers if worker.conn in ready]:
            try:
                while worker.conn.poll():
                    entries += self._hear(worker, worker.conn.recv())
            except (EOFError, OSError):
                self._lost(worker, None)
        self._tick()
        for worker in [worker for worker in self.workers if worker.overdue(self.timeout)]:
            self._lost(worker, f"took longer than {self.timeout:g} s")
        return entries

    def _tick(self) -> None:
        """Let the workers age by what both they and this process have worked."""
        passed = time.monotonic() - self.ticked
        if passed >= TICK_SECONDS:
            self.ticked += passed
            for worker in self.workers:
                if not self.stopped(worker):
                    worker.clock += min(passed, LONGEST_TICK_SECONDS)

    def _hear(self, worker: Worker, message: tuple) -> list[Entry]:
        match message:
            case ("started",):
                worker.started = True
            case ("reading", number, i):
                worker.reading[number] = (i, worker.clock)
            case ("read", number):
                del worker.reading[number]
                worker.read = True
            case ("encoding", number):
                worker.encoding = (number, worker.clock)
            case ("dying" | "short" as kind, reason):
                worker.last_words, worker.short = reason, kind == "short"
            case ("error", text):
                raise UserError(f"{worker.where}: {text}" if worker.where else text)
            case ("done", number, entries):
                worker.encoding, worker.loaded, self.hopeful = None, True, True
                del worker.tasks[number]
                return entries
        return []

    def _lost(self, worker: Worker, reason: str | None) -> None:
        """Let a dead or overdue worker go: blame one item, or suspect several; the rest is done again."""
        end = self.end(worker)
        if worker.killed and reason is None:
            # No code can do that to itself: it was the system, short of memory, or a person.
            worker.short, worker.last_words = (
                True,
                "its worker was killed from outside, as where memory runs out",
            )
        if worker.last_words:
            end = f"died ({worker.last_words})"
        self.workers.remove(worker)
        if not worker.started:
            raise UserError(f"a worker process {end} before it could begin; its own message stands above")
        suspects = worker.suspects()
        # A death may come from outside (out of memory), a single item that takes too long has no such excuse.
        certain = reason is not None and len(suspects) == 1
        reason = reason or f"the worker {end} while extracting it"
        for number, task in worker.tasks.items():
            mine = {i for n, i in suspects if n == number}
            if certain or task.losses >= self.chances:
                if worker.short:
                    raise self._short(worker, task.items[min(mine)])
                failure = Failure("failed", reason)
                self.blamed += [entry(task.items[i], failure, self.encoder) for i in mine]
            else:
                self.suspected += [Task([task.items[i]], task.losses + 1) for i in sorted(mine)]
            if rest := [item for i, item in enumerate(task.items) if i not in mine]:
                self.again.append(Task(rest))

    def _short(self, worker: Worker, item: Item) -> UserError:
        at = f"{worker.where}: " if worker.where else ""
        what = f" with {item.source}" if item.source else ""
        return UserError(
            f"{at}this machine cannot do the work{what}, not alone either: {worker.last_words}; make room (fewer "
            "EMOFUSE_WORKERS take less memory) or mend what is missing, and run again: what is done is in the journal, "
            "and no item counts as failed for it"
        )
