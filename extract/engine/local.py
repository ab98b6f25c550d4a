"""The local engine: worker processes on this machine, each with its own copy of the encoder.

On the CPU there is one worker per core. If the encoder computes on GPUs there is one worker per GPU, and the cores are
divided among the workers to decode media ahead. If EMOFUSE_WORKERS asks for more workers, they share the GPUs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from typing_extensions import override

from extract.contract import Encoder, Item
from extract.engine.crew import Crew, Worker
from extract.engine.journal import Entry
from extract.engine.worker import ENVIRONMENT, serve
from pipeline.env import cores, gpus_here


def extract(
    encoder: Encoder[Any], batches: Iterator[list[Item]], workers: int | None, timeout: float
) -> Generator[list[Entry], None, None]:
    """Extract all items and yield their outcomes, in any order; yield an empty list when none is ready.

    Every engine has this signature. At most `AHEAD` batches per worker (one more for each further decoding thread)
    are in progress, and no more are taken from `batches`.

    Args:
        encoder: computes the features; each worker gets a copy.
        batches: items to pass to `encode` together.
        workers: number of processes, each with one computing thread. None: one per GPU or core.
        timeout: seconds allowed for reading one item and for encoding one batch.

    Yields:
        Outcomes that arrived since the last yield; at least one list, possibly empty, every `TICK_SECONDS`.

    Raises:
        UserError: no worker can extract anything (missing weights, broken installation), or the machine lacks memory,
            disk space or a library.
    """
    yield from _Pool(encoder, batches, workers, timeout).run()


class _Pool(Crew):
    def __init__(
        self, encoder: Encoder[Any], batches: Iterator[list[Item]], workers: int | None, timeout: float
    ) -> None:
        super().__init__(encoder, batches, timeout)
        # An encoder without torch cannot use a GPU.
        self.gpus = gpus_here() if "torch" in encoder.packages() else []
        self.count = workers or len(self.gpus) or cores()
        if self.gpus:
            self.decoders = max(1, cores() // self.count)
        self.context = multiprocessing.get_context("spawn")

    @override
    def vacant(self) -> bool:
        return len(self.workers) < self.count

    @override
    def start(self) -> Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=serve, args=(theirs, self.encoder, self.decoders), daemon=True)
        device = self._least_used_gpu()
        with _environment({"EMOFUSE_DEVICE": device} if device else {}):
            process.start()
        theirs.close()
        return Worker(process, ours, device=device)

    def _least_used_gpu(self) -> str:
        """Return the GPU with the fewest workers, or an empty string if there is no GPU."""
        taken = [worker.device for worker in self.workers]
        return min(self.gpus, key=taken.count, default="")

    @override
    def stopped(self, worker: Worker) -> bool:
        try:
            return bool(psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return False

    @override
    def end(self, worker: Worker) -> str:
        worker.process.kill()
        worker.process.join()
        worker.conn.close()
        code = worker.process.exitcode
        worker.killed = code == -signal.SIGKILL
        return f"died (signal {-code})" if code < 0 else f"ended (exit code {code})"

    @override
    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            self.end(worker)
        self.workers = []


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    """Set the environment that a child process inherits, and make it ignore Ctrl-C.

    Each library in the child uses one thread. Only the parent handles Ctrl-C.

    Args:
        more: further environment variables, such as the child's GPU.
    """
    wanted = ENVIRONMENT | more
    before = {name: os.environ.get(name) for name in wanted}
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(wanted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
