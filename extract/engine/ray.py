"""The Ray engine: the workers of extract/engine/crew.py as actors, on all machines of a cluster.

    EMOFUSE_ENGINE=ray dvc repro                            # a Ray of its own, on this machine
    RAY_ADDRESS=HOST:6379 EMOFUSE_ENGINE=ray dvc repro      # a cluster; this machine is one of its nodes

Ray finds room for the actors, hands out the GPUs and brings this project's code to the nodes. What an actor says
goes over a connection of its own to this process and not through Ray's results: those die with their actor,
while what it was about to touch when it died must be known, and rows need no stay in an object store. Nothing is
left to Ray's retries: a lost actor is replaced here, and the journal is the checkpoint.

EMOFUSE_WORKERS: actors (default: one a core, or as many as the GPUs take); EMOFUSE_GPUS: GPUs for each, such as
0.25 (default: 1 where the cluster has any, 0 under EMOFUSE_DEVICE=cpu). An actor decodes ahead on a core of its
node while the model computes, so a GPU that waits for decoding wants a smaller share.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import secrets
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from extract.contract import Encoder, Item
from extract.engine.crew import Crew, Worker
from extract.engine.journal import Entry
from extract.engine.ray_actor import Actor, Order, watch
from pipeline.closure import ROOT
from pipeline.env import ONE_THREAD, cores, gpus
from pipeline.errors import UserError

# Nothing of ours lies in Ray's object store; this is about the least it takes.
OBJECT_STORE_BYTES = 100_000_000
# So many actors died before they could begin, and none began: then it is not bad luck.
STILLBORN = 5
CAPACITY_SECONDS = 5.0
WAITING_SECONDS = 60.0
CONNECT_SECONDS = 10.0
# What an encoder or a library may read of the environment beside its params.
INHERITED = ("EMOFUSE_DEVICE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")


def extract(
    encoder: Encoder, batches: Iterator[list[Item]], workers: int | None, timeout: float
) -> Generator[list[Entry], None, None]:
    """As `extract.engine.local.extract`, by actors on a Ray cluster.

    Raises:
        UserError: Ray is not installed, its cluster cannot be reached, or a node cannot do the work: its code,
            packages or weights are others than here, or it lacks them.
    """
    yield from _Cluster(encoder, batches, workers, timeout).run()


class _Cluster(Crew):
    # A node that goes takes innocent items with it; three in a row are no coincidence.
    chances = 3

    def __init__(
        self, encoder: Encoder, batches: Iterator[list[Item]], workers: int | None, timeout: float
    ) -> None:
        super().__init__(encoder, batches, timeout)
        share, self.wanted = gpus(), workers
        self.count, self.counted = workers or 0, -CAPACITY_SECONDS
        self.ray = _connect({"extract", "pipeline", type(encoder).__module__.partition(".")[0]})
        there = self._total("GPU")
        if share is None:
            share = 1.0 if there and os.environ.get("EMOFUSE_DEVICE") != "cpu" else 0.0
        if there < share and not os.environ.get("RAY_ADDRESS"):  # no other machine will join
            self.ray.shutdown()
            raise UserError(f"EMOFUSE_GPUS={share:g}: this machine has {there:g} GPUs")
        self.share = share
        media, folder = os.path.abspath(encoder.media), os.getcwd()
        self.order = Order(type(encoder), encoder.params, media, folder, encoder.provenance(), share)
        self.actor = self.ray.remote(num_cpus=1, num_gpus=share, max_restarts=0, max_task_retries=0)(Actor)
        self.secret = secrets.token_bytes(32)
        self.server = socket.create_server((self.ray.util.get_node_ip_address(), 0), backlog=128)
        self.asked: dict[int, tuple[Any, Any]] = {}
        self.begun: deque[Worker] = deque()
        self.callers: queue.SimpleQueue[tuple[Connection, int, str]] = queue.SimpleQueue()
        self.stillborn = 0
        self.heard = time.monotonic()
        threading.Thread(target=_accept, args=(self.server, self.secret, self.callers), daemon=True).start()

    def vacant(self) -> bool:
        self._welcome()
        self._bury()
        self._ask()
        return bool(self.begun)

    def start(self) -> Worker:
        return self.begun.popleft()

    def stopped(self, worker: Worker) -> bool:
        return False  # what a node does with its processes is not to be seen from here

    def end(self, worker: Worker) -> str:
        worker.conn.close()
        self.ray.kill(worker.process)
        return "died"  # where and by what signal is not for a file that is the same everywhere

    def close(self) -> None:
        for worker in [*self.workers, *self.begun]:
            self.end(worker)
        for actor, _ in self.asked.values():
            self.ray.kill(actor)
        self.workers = []
        self.server.close()
        self.ray.shutdown()

    def _welcome(self) -> None:
        """Take in the actors that have called since."""
        while not self.callers.empty():
            conn, number, where = self.callers.get()
            if number in self.asked:
                self.begun.append(Worker(self.asked.pop(number)[0], conn, where, started=True))
                self.stillborn = 0
            else:
                conn.close()

    def _bury(self) -> None:
        """Take notice of the actors that ended before they called."""
        number_of = {ref: number for number, (_, ref) in self.asked.items()}
        ended, _ = (
            self.ray.wait(list(number_of), num_returns=len(number_of), timeout=0) if number_of else ([], [])
        )
        for ref in ended:
            del self.asked[number_of[ref]]
            try:
                self.ray.get(ref)
            except UserError as error:
                raise UserError(str(getattr(error, "cause", error))) from None
            except self.ray.exceptions.RayError as error:
                self.stillborn += 1
                if self.stillborn >= STILLBORN:
                    raise UserError(
                        f"ray: {STILLBORN} actors one after the other ended before they could begin; the last one: "
                        f"{' '.join(str(error).split())}"
                    ) from None

    def _ask(self) -> None:
        """Have as many actors as are wanted; those that Ray finds no room for wait in its queue."""
        now = time.monotonic()
        if self.wanted is None and now - self.counted >= CAPACITY_SECONDS:
            self.count, self.counted = max(1, self._room()), now
        while len(self.asked) + len(self.begun) + len(self.workers) < self.count:
            number = next(self.numbers)
            actor = self.actor.remote()
            run = actor.run.remote(number, self.server.getsockname()[:2], self.secret, self.order)
            self.asked[number] = actor, run
        if self.workers or self.begun:
            self.heard = now
        elif now - self.heard >= WAITING_SECONDS:
            self.heard = now
            print(
                f"ray: no actor can begin: each needs a core and {self.share:g} GPUs (EMOFUSE_GPUS), the cluster has "
                f"{self._total('CPU'):g} cores and {self._total('GPU'):g} GPUs in all; waiting for room",
                file=sys.stderr,
                flush=True,
            )

    def _room(self) -> int:
        """How many actors fit on the nodes there are."""
        return sum(
            int(min(node.get("CPU", 0), node.get("GPU", 0) / self.share if self.share else math.inf))
            for node in self._nodes()
        )

    def _total(self, resource: str) -> float:
        return sum(node.get(resource, 0) for node in self._nodes())

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]


def _connect(packages: set[str]) -> Any:
    """Ray, connected to RAY_ADDRESS or begun here; its nodes get `packages` of this project."""
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        # Ray would leave the token of its cluster in the user's home. It looks for one when it is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
    try:
        import ray
    except ImportError:
        raise UserError(
            "EMOFUSE_ENGINE=ray: Ray is not installed here: pip install -r requirements-ray.txt"
        ) from None
    _knock(address)
    # Under `ray job submit --working-dir` the job has code of its own; what counts is what this process runs.
    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"
    begun_here: dict[str, Any] = {}
    if address == "local":
        begun_here = {
            "num_cpus": cores(), "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False
        }  # fmt: skip
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        ray.init(
            address=address,
            runtime_env={
                "working_dir": str(ROOT),
                "excludes": [f"/{path.name}" for path in ROOT.iterdir() if path.name not in packages],
                "env_vars": {**ONE_THREAD, **environment},
            },
            log_to_driver=False,
            logging_level=logging.ERROR,
            **begun_here,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"RAY_ADDRESS={address}: no cluster to work with: {' '.join(str(error).split())}"
        ) from None
    return ray


def _knock(address: str) -> None:
    """Fail within seconds where no cluster is: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if address in ("local", "auto"):
        return
    if "/" in host or not port.isdecimal():
        raise UserError(f"RAY_ADDRESS={address}: must be HOST:PORT as `ray start --head` says it (no ray://)")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"RAY_ADDRESS={address}: nobody answers there: {error}") from None


def _accept(server: socket.socket, secret: bytes, callers: queue.SimpleQueue) -> None:
    with suppress(OSError):  # closed by the engine
        while True:
            caller, _ = server.accept()
            # On a thread of its own: whoever else calls may have nothing to say.
            threading.Thread(target=_greet, args=(caller, secret, callers), daemon=True).start()


def _greet(caller: socket.socket, secret: bytes, callers: queue.SimpleQueue) -> None:
    watch(caller)
    conn = Connection(caller.detach())
    try:
        deliver_challenge(conn, secret)
        answer_challenge(conn, secret)
        number, where = conn.recv()
    except (AuthenticationError, OSError, EOFError):
        conn.close()
        return
    callers.put((conn, number, where))
