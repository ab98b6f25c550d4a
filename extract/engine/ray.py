"""The Ray engine: the workers are Ray actors on the machines of a cluster.

    EMOFUSE_ENGINE=ray dvc repro                            # start Ray on this machine, for this run
    RAY_ADDRESS=HOST:6379 EMOFUSE_ENGINE=ray dvc repro      # use a cluster; this machine must be one of its nodes

Ray places the actors, assigns GPUs and copies this project's code to the nodes. Each actor sends its messages through
its own TCP connection to this process. Ray's results are not used, because Ray discards them when an actor dies, but
the engine needs the actor's last message. Ray's retries are off: the engine replaces lost actors, and the journal is
the checkpoint.

EMOFUSE_WORKERS is the number of actors (default: as many as the cores and GPUs of the cluster allow). EMOFUSE_GPUS is
the number of GPUs per actor, for example 0.25 (default: 1 if the cluster has GPUs, 0 with EMOFUSE_DEVICE=cpu). Each
actor decodes ahead on one core. If a GPU waits for decoding, choose a smaller EMOFUSE_GPUS to run more actors per GPU.
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

from typing_extensions import override

from extract.contract import Encoder, Item
from extract.engine.crew import Crew, Worker
from extract.engine.journal import Entry
from extract.engine.ray_actor import Actor, Order, watch
from extract.engine.worker import ENVIRONMENT
from pipeline.closure import ROOT
from pipeline.env import cores, gpus
from pipeline.errors import UserError

# The engine stores nothing in Ray's object store; Ray accepts little less than this.
OBJECT_STORE_BYTES = 100_000_000
# After this many failed starts in a row, stop.
MAX_FAILED_STARTS = 5
CAPACITY_SECONDS = 5.0
WAITING_SECONDS = 60.0
CONNECT_SECONDS = 10.0
# Environment variables that encoders and libraries read on a node.
INHERITED = ("EMOFUSE_DEVICE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")

# Authenticated connections: (connection, number of the actor, its node).
Callers = queue.SimpleQueue[tuple[Connection, int, str]]


def extract(
    encoder: Encoder[Any], batches: Iterator[list[Item]], workers: int | None, timeout: float
) -> Generator[list[Entry], None, None]:
    """Extract all items on a Ray cluster; see `extract.engine.local.extract`.

    Args:
        encoder: computes the features; each actor constructs its own.
        batches: items to pass to `encode` together.
        workers: number of actors. None: as many as fit on the cluster.
        timeout: seconds allowed for reading one item and for encoding one batch.

    Raises:
        UserError: Ray is not installed, the cluster cannot be reached, or code, packages or weights of a node are
            missing or differ from this machine's.
    """
    yield from _Cluster(encoder, batches, workers, timeout).run()


class _Cluster(Crew):
    # A lost node also kills workers whose items are sound. Three losses in a row are unlikely to be a coincidence.
    max_losses = 3

    def __init__(
        self, encoder: Encoder[Any], batches: Iterator[list[Item]], workers: int | None, timeout: float
    ) -> None:
        super().__init__(encoder, batches, timeout)
        share, self.requested = gpus(), workers
        self.count, self.counted_at = workers or 0, -CAPACITY_SECONDS
        self.ray = _connect({"extract", "pipeline", type(encoder).__module__.partition(".")[0]})
        there = self._total("GPU")
        if share is None:
            share = 1.0 if there and os.environ.get("EMOFUSE_DEVICE") != "cpu" else 0.0
        if there < share and not os.environ.get("RAY_ADDRESS"):  # only this machine, so no GPU can be added
            self.ray.shutdown()
            raise UserError(
                f"EMOFUSE_GPUS={share:g}: this machine has {there:g} GPUs; set a number up to that"
            )
        self.share = share
        media, folder = os.path.abspath(encoder.media), os.getcwd()
        self.order = Order(type(encoder), encoder.params, media, folder, encoder.provenance(), share)
        self.actor = self.ray.remote(num_cpus=1, num_gpus=share, max_restarts=0, max_task_retries=0)(Actor)
        self.secret = secrets.token_bytes(32)
        self.server = socket.create_server((self.ray.util.get_node_ip_address(), 0), backlog=128)
        # Actors that have not connected yet, by number: (actor, result of its `run`).
        self.starting: dict[int, tuple[Any, Any]] = {}
        self.ready: deque[Worker] = deque()
        self.callers: Callers = queue.SimpleQueue()
        self.failed_starts = 0
        self.waiting_since = time.monotonic()
        threading.Thread(target=_accept, args=(self.server, self.secret, self.callers), daemon=True).start()

    @override
    def vacant(self) -> bool:
        self._add_connected()
        self._remove_ended()
        self._request_actors()
        return bool(self.ready)

    @override
    def start(self) -> Worker:
        return self.ready.popleft()

    @override
    def stopped(self, worker: Worker) -> bool:
        return False  # Ray does not report stopped processes

    @override
    def end(self, worker: Worker) -> str:
        worker.conn.close()
        self.ray.kill(worker.process)
        return "died"  # without node and signal, since this text enters the feature file

    @override
    def close(self) -> None:
        for worker in [*self.workers, *self.ready]:
            self.end(worker)
        for actor, _ in self.starting.values():
            self.ray.kill(actor)
        self.workers = []
        self.server.close()
        self.ray.shutdown()

    def _add_connected(self) -> None:
        """Make workers of the actors that have connected."""
        while not self.callers.empty():
            conn, number, where = self.callers.get()
            if number in self.starting:
                self.ready.append(Worker(self.starting.pop(number)[0], conn, where, started=True))
                self.failed_starts = 0
            else:
                conn.close()

    def _remove_ended(self) -> None:
        """Remove the actors that ended before they connected.

        Raises:
            UserError: an actor reported a user's mistake, or `MAX_FAILED_STARTS` actors in a row did not start.
        """
        number_of = {ref: number for number, (_, ref) in self.starting.items()}
        ended, _ = (
            self.ray.wait(list(number_of), num_returns=len(number_of), timeout=0) if number_of else ([], [])
        )
        for ref in ended:
            del self.starting[number_of[ref]]
            try:
                self.ray.get(ref)
            except UserError as error:
                raise UserError(str(getattr(error, "cause", error))) from None
            except self.ray.exceptions.RayError as error:
                self.failed_starts += 1
                if self.failed_starts >= MAX_FAILED_STARTS:
                    raise UserError(
                        f"ray: {MAX_FAILED_STARTS} actors in a row ended before they started; correct the cause and "
                        f"run again; the last error: {' '.join(str(error).split())}"
                    ) from None

    def _request_actors(self) -> None:
        """Request actors up to the wanted number. Ray starts each one when a node has room for it."""
        now = time.monotonic()
        if self.requested is None and now - self.counted_at >= CAPACITY_SECONDS:
            self.count, self.counted_at = max(1, self._capacity()), now
        while len(self.starting) + len(self.ready) + len(self.workers) < self.count:
            number = next(self.numbers)
            actor = self.actor.remote()
            run = actor.run.remote(number, self.server.getsockname()[:2], self.secret, self.order)
            self.starting[number] = actor, run
        if self.workers or self.ready:
            self.waiting_since = now
        elif now - self.waiting_since >= WAITING_SECONDS:
            self.waiting_since = now
            print(
                f"ray: no actor can start yet: each needs 1 core and {self.share:g} GPUs (EMOFUSE_GPUS); the cluster "
                f"has {self._total('CPU'):g} cores and {self._total('GPU'):g} GPUs in total; waiting for free ones",
                file=sys.stderr,
                flush=True,
            )

    def _capacity(self) -> int:
        """Return how many actors fit on the current nodes."""
        return sum(
            int(min(node.get("CPU", 0), node.get("GPU", 0) / self.share if self.share else math.inf))
            for node in self._nodes()
        )

    def _total(self, resource: str) -> float:
        return sum(node.get(resource, 0) for node in self._nodes())

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]


def _connect(packages: set[str]) -> Any:
    """Connect to the cluster at RAY_ADDRESS, or start Ray on this machine; return the module `ray`.

    Args:
        packages: packages of this project to copy to the nodes.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        # Without a token in the environment Ray writes one to the user's home folder. It reads these at import.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
    try:
        import ray
    except ImportError:
        raise UserError(
            "EMOFUSE_ENGINE=ray: Ray is not installed here; run `pip install -r requirements-ray.txt`"
        ) from None
    _check_reachable(address)
    # `ray job submit --working-dir` sends a copy of the code. The nodes must run the code of this process instead.
    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"
    local_options: dict[str, Any] = {}
    if address == "local":
        local_options = {
            "num_cpus": cores(), "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False
        }  # fmt: skip
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        ray.init(
            address=address,
            runtime_env={
                "working_dir": str(ROOT),
                "excludes": [f"/{path.name}" for path in ROOT.iterdir() if path.name not in packages],
                "env_vars": {**ENVIRONMENT, **environment},
            },
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local_options,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"RAY_ADDRESS={address}: cannot connect to the cluster: {' '.join(str(error).split())}; check the "
            "address and RAY_AUTH_TOKEN, and that this machine is one of its nodes"
        ) from None
    return ray


def _check_reachable(address: str) -> None:
    """Check within seconds that a server answers at `address`, because Ray itself tries for minutes.

    Raises:
        UserError: the address is malformed, or no server answers.
    """
    host, _, port = address.rpartition(":")
    if address in ("local", "auto"):
        return
    if "/" in host or not port.isdecimal():
        raise UserError(
            f"RAY_ADDRESS={address}: must be HOST:PORT, as `ray start --head` prints it, without ray://"
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"RAY_ADDRESS={address}: no server answers ({error}); start one with `ray start --head`"
        ) from None


def _accept(server: socket.socket, secret: bytes, callers: Callers) -> None:
    with suppress(OSError):  # the engine closes the socket when it ends
        while True:
            caller, _ = server.accept()
            # In a thread, because a client that is no actor may never send anything.
            threading.Thread(target=_authenticate, args=(caller, secret, callers), daemon=True).start()


def _authenticate(caller: socket.socket, secret: bytes, callers: Callers) -> None:
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
