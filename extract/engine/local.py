"""The local engine: worker processes on this machine, each with a copy of the encoder.

On the CPU there is one a core. Where the encoder computes on GPUs there is one a GPU, and the cores decode ahead for
them; EMOFUSE_WORKERS asks for more, which then share the GPUs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import psutil

from extract.contract import Encoder, Item
from extract.engine.crew import Crew, Worker
from extract.engine.journal import Entry
from extract.engine.worker import serve
from pipeline.env import ONE_THREAD, cores, gpus_here


def extract(
    encoder: Encoder, batches: Iterator[list[Item]], workers: int | None, timeout: float
) -> Generator[list[Entry], None, None]:
    """Outcomes of all items, in the order in which they come; an empty list every tick in which none does.

    This signature is the contract of an engine. Each batch goes to `encode` as it is. Memory: at most
    `AHEAD` batches a worker are under way, and `batches` is asked for no more.

    Args:
        workers: how many processes, each of them one thread of computation; None: as many as there is room for.
        timeout: seconds that one item, or one batch, may take.

    Raises:
        UserError: a worker cannot work at all (weights missing, broken installation).
    """
    yield from _Pool(encoder, batches, workers, timeout).run()


class _Pool(Crew):
    def __init__(
        self, encoder: Encoder, batches: Iterator[list[Item]], workers: int | None, timeout: float
    ) -> None:
        super().__init__(encoder, batches, timeout)
        # What needs no torch needs no GPU.
        self.gpus = gpus_here() if "torch" in encoder.packages() else []
        self.count = workers or len(self.gpus) or cores()
        if self.gpus:
            self.decoders = max(1, cores() // self.count)
        self.context = multiprocessing.get_context("spawn")

    def vacant(self) -> bool:
        return len(self.workers) < self.count

    def start(self) -> Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=serve, args=(theirs, self.encoder, self.decoders), daemon=True)
        where = self._idlest()
        with _environment({"EMOFUSE_DEVICE": where} if where else {}):
            process.start()
        theirs.close()
        return Worker(process, ours, device=where)

    def _idlest(self) -> str:
        """The GPU that the fewest workers are on; empty where there are none."""
        taken = [worker.device for worker in self.workers]
        return min(self.gpus, key=taken.count, default="")

    def stopped(self, worker: Worker) -> bool:
        try:
            return psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def end(self, worker: Worker) -> str:
        worker.process.kill()
        worker.process.join()
        worker.conn.close()
        code = worker.process.exitcode
        worker.killed = code == -signal.SIGKILL
        return f"died (signal {-code})" if code < 0 else f"ended (exit code {code})"

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            self.end(worker)
        self.workers = []


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    """What a child inherits: one thread per library, its GPU, and deafness to Ctrl-C, which its parent handles."""
    wanted = ONE_THREAD | more
    before = {name: os.environ.get(name) for name in wanted}
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(wanted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
