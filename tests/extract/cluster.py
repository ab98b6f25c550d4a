"""A Ray cluster of several nodes on this machine, its nodes' processes known, so that they can be killed."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

WAIT_SECONDS = 600.0
# Ports 0: by default the workers of all nodes take theirs from one range, and nodes of one machine would collide.
NODE = ("--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0", "--block")


class Cluster:
    """A head that does no work, and nodes of one core each; all end with it.

    Attributes:
        environment: what a driver needs to find the cluster and to be let in.
    """

    def __init__(self, nodes: int, **environment: str) -> None:
        # Not pytest's folder: a socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        # A slow machine, or a full one, is no fault: Ray shall wait for its parts and kill no actor.
        patient = {
            "RAY_NUM_REDIS_GET_RETRIES": "120",
            "RAY_gcs_server_port_wait_time_s": "120",
            "RAY_memory_monitor_refresh_ms": "0",
        }
        self.own = {**os.environ, **self.environment, **patient, **environment}
        self.nodes: list[subprocess.Popen] = []
        try:
            here = (
                "--head",
                f"--port={free_port()}",
                f"--temp-dir={self.folder}",
                "--include-dashboard=false",
            )
            self.head = self._start(*here, "--num-cpus=0")
            self.address = (self.folder / "ray_current_cluster").read_text().strip()
            self.environment["RAY_ADDRESS"] = self.address
            for _ in range(nodes):
                self.add()
        except BaseException:
            self.close()
            raise

    def add(self) -> None:
        """One more node."""
        self.nodes.append(self._start(f"--address={self.address}", "--num-cpus=1"))

    def kill(self, node: subprocess.Popen) -> None:
        """End a node as a power cut would: all its processes at once, without a goodbye."""
        for pid in members(node.pid):
            # A pid whose end was seen may be another's by now.
            if pid != node.pid or node.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        node.wait()

    def actors(self) -> list[int]:
        """The processes on its nodes in which an actor is."""
        found = []
        for pid in (pid for node in self.nodes for pid in members(node.pid)):
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Actor"):
                    found.append(pid)
        return found

    def close(self) -> None:
        for node in [*self.nodes, *([self.head] if hasattr(self, "head") else [])]:
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self, *args: str) -> subprocess.Popen:
        ray = Path(sys.executable).with_name("ray")
        log = self.folder / f"start-{time.monotonic_ns()}.log"
        with log.open("w") as file:
            node = subprocess.Popen(
                [ray, "start", *args, *NODE],
                env=self.own,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        # Only then are its sockets bound and its address written: of two nodes that start at once both would take
        # the same names for sockets, and one would die.
        deadline = time.monotonic() + WAIT_SECONDS
        while "will now block forever" not in log.read_text():
            if node.poll() is not None or time.monotonic() > deadline:
                self.kill(node)
                raise AssertionError(log.read_text())
            time.sleep(0.1)
        return node


def free_port() -> int:
    """A port below those that the kernel gives out, so that nobody has it by chance before Ray binds it."""
    while True:
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def members(session: int) -> list[int]:
    """The processes of a session, its leader last."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and int(stat.parent.name) != session:
            found.append(int(stat.parent.name))
    return [*found, session]
