"""What all engines share: dispatch items, receive results, and identify the item that killed a worker.

If a worker dies or exceeds the time limit, each item it was reading or encoding is tried again, alone in a worker. An
item that kills `max_losses` of these workers gets the status `failed`. If the machine is the cause (memory, disk space,
a missing library), the run ends instead, and no item is `failed`. How workers start, end and are monitored differs
between engines (local.py, ray.py).
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
from extract.engine.worker import Message, entry
from pipeline.errors import UserError

# Batches per worker: one is encoded, one is decoded and one waits, so that no thread of a worker is idle. A worker gets
# one more for each further decoding thread.
AHEAD = 3
TICK_SECONDS = 0.1
# Upper limit of the time counted per tick. A longer tick means that this process was stopped or the machine slept, and
# the workers may have been stopped too.
LONGEST_TICK_SECONDS = 1.0
# Extra time for the first read and the first encoding, which import the encoder's packages and load its weights.
LOADING_SECONDS = 300.0
# After this many failed items without one success, the machine is the likely cause: stop.
MAX_FAILED = 5


@dataclass
class Task:
    """Items to extract together.

    Attributes:
        items: the items.
        losses: number of workers that the item may have killed; only a single item has more than 0.
    """

    items: list[Item]
    losses: int = 0

    @property
    def alone(self) -> bool:
        """Whether the item must be the only work of its worker."""
        return self.losses > 0


@dataclass
class Worker:
    """A worker and its last reported state.

    Attributes:
        process: the engine's handle of the worker.
        conn: connection to the worker.
        where: node of the worker; empty if there is only one machine.
        device: GPU of the worker; empty if the engine assigns none.
        tasks: tasks sent to the worker, by number.
        clock: seconds during which the worker was able to run, so not stopped or asleep.
        reading: item being read in each task, by task number: (position, `clock` at its start).
        encoding: task being encoded: (number, `clock` at its start).
        started: the worker has started.
        read: the worker has read its first task.
        loaded: the worker has encoded its first task, so the weights are loaded.
        reason: reason that the worker gave before it ended.
        short: the machine lacked memory, disk space or a library.
        killed: SIGKILL ended the worker.
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
    reason: str = ""
    short: bool = False
    killed: bool = False

    def give(self, number: int, task: Task) -> None:
        """Send a task to the worker."""
        self.tasks[number] = task
        with suppress(OSError):  # a dead worker is detected when the engine reads from it
            self.conn.send((number, task.items))

    def suspects(self) -> list[tuple[int, int]]:
        """Return (task number, position) of each item being read or encoded; of all its items if none is."""
        found = [(number, i) for number, (i, _) in self.reading.items()]
        if self.encoding:
            found += [(self.encoding[0], i) for i in range(len(self.tasks[self.encoding[0]].items))]
        return found or [(number, i) for number, task in self.tasks.items() for i in range(len(task.items))]

    def overdue(self, timeout: float) -> bool:
        """Return whether one read or encoding exceeds the time limit.

        If so, other current reads and encodings are removed, so that `suspects` returns only the cause. `timeout`:
        seconds allowed for reading one item and for encoding one batch.
        """
        for number, (i, since) in self.reading.items():
            if self.clock - since > timeout + LOADING_SECONDS * (not self.read):
                self.reading, self.encoding = {number: (i, since)}, None
                return True
        if self.encoding and self.clock - self.encoding[1] > timeout + LOADING_SECONDS * (not self.loaded):
            self.reading = {}
            return True
        return False


class Crew(ABC):
    """The workers of one extraction.

    Attributes:
        decoders: number of decoding threads per worker.
        max_losses: number of workers that an item must kill, alone in each, before it is `failed`.
    """

    decoders = 1
    max_losses = 1

    def __init__(self, encoder: Encoder[Any], batches: Iterator[list[Item]], timeout: float) -> None:
        self.encoder, self.batches, self.timeout = encoder, batches, timeout
        self.workers: list[Worker] = []
        self.numbers = itertools.count()
        self.again: deque[Task] = deque()
        self.suspected: deque[Task] = deque()
        self.exhausted = False
        self.failed: list[Entry] = []
        self.any_success = False
        self.ticked = time.monotonic()

    @abstractmethod
    def vacant(self) -> bool:
        """Return whether `start` can return another worker without waiting."""

    @abstractmethod
    def start(self) -> Worker:
        """Start one more worker and return it."""

    @abstractmethod
    def stopped(self, worker: Worker) -> bool:
        """Return whether a worker exists but is stopped (Ctrl-Z, SIGSTOP)."""

    @abstractmethod
    def end(self, worker: Worker) -> str:
        """End a worker if it still runs. Return how it ended, in words."""

    @abstractmethod
    def close(self) -> None:
        """End all workers."""

    def run(self) -> Iterator[list[Entry]]:
        """Extract all items and yield their outcomes; yield an empty list when none is ready. End all workers last.

        Raises:
            UserError: the machine, not an item, prevents the extraction.
        """
        try:
            while True:
                self._feed()
                if not self.busy():
                    yield self.failed
                    return
                entries = self._collect()
                # Until one item succeeds the machine may be the cause, so failures are held back.
                if self.any_success:
                    entries, self.failed = entries + self.failed, []
                yield entries
                if len(self.failed) >= MAX_FAILED:
                    raise UserError(
                        f"{len(self.failed)} items killed or blocked their worker and none succeeded (last reason: "
                        f"{self.failed[-1].error}); the likely cause is this machine (memory, drivers), not the "
                        "files; correct it and run again"
                    )
        finally:
            self.close()

    def busy(self) -> bool:
        """Return whether any item has no outcome yet."""
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
                    entries += self._handle(worker, worker.conn.recv())
            except (EOFError, OSError):
                self._remove(worker, None)
        self._tick()
        for worker in [worker for worker in self.workers if worker.overdue(self.timeout)]:
            self._remove(worker, f"took longer than {self.timeout:g} s")
        return entries

    def _tick(self) -> None:
        """Advance the clocks of the workers that were able to run since the last tick."""
        passed = time.monotonic() - self.ticked
        if passed >= TICK_SECONDS:
            self.ticked += passed
            for worker in self.workers:
                if not self.stopped(worker):
                    worker.clock += min(passed, LONGEST_TICK_SECONDS)

    def _handle(self, worker: Worker, message: Message) -> list[Entry]:
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
            case ("dying", reason):
                worker.reason = reason
            case ("short", reason):
                worker.reason, worker.short = reason, True
            case ("error", text):
                raise UserError(f"{worker.where}: {text}" if worker.where else text)
            case ("done", number, entries):
                worker.encoding, worker.loaded, self.any_success = None, True, True
                del worker.tasks[number]
                return entries
        return []

    def _remove(self, worker: Worker, reason: str | None) -> None:
        """Remove a worker. Fail the item that ended it, or schedule its items again. `reason`: None if it died."""
        end = self.end(worker)
        if worker.killed and reason is None:
            # The kernel (short of memory) or a person sends SIGKILL; an item cannot cause it.
            worker.short, worker.reason = True, "SIGKILL ended the worker, probably because memory ran out"
        if worker.reason:
            end = f"died ({worker.reason})"
        self.workers.remove(worker)
        if not worker.started:
            raise UserError(
                f"a worker process {end} before it started; its own message is above; correct the cause and run again"
            )
        suspects = worker.suspects()
        # The cause of a death may be the machine. The cause of an overrun with one suspect is that item.
        certain = reason is not None and len(suspects) == 1
        reason = reason or f"the worker {end} while extracting it"
        for number, task in worker.tasks.items():
            mine = {i for n, i in suspects if n == number}
            if certain or task.losses >= self.max_losses:
                if worker.short:
                    raise self._short(worker, task.items[min(mine)])
                failure = Failure("failed", reason)
                self.failed += [entry(task.items[i], failure, self.encoder) for i in mine]
            else:
                self.suspected += [Task([task.items[i]], task.losses + 1) for i in sorted(mine)]
            if rest := [item for i, item in enumerate(task.items) if i not in mine]:
                self.again.append(Task(rest))

    def _short(self, worker: Worker, item: Item) -> UserError:
        at = f"{worker.where}: " if worker.where else ""
        return UserError(
            f"{at}this machine cannot extract {item.source or 'an item'}, even alone in a worker: {worker.reason}; "
            "free memory (fewer EMOFUSE_WORKERS need less) or disk space, or install what is missing, then run again; "
            "finished items are in the journal, and no item was marked as failed"
        )
