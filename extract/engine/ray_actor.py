"""What the Ray engine has running on a node: one encoder with its two threads (extract/engine/worker.py)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from extract.contract import Encoder
from extract.engine.worker import serve
from pipeline.errors import UserError

# A machine that loses its power says no goodbye: it counts as gone after 25 seconds of silence.
SILENCE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}


@dataclass(frozen=True)
class Order:
    """All that an actor needs to make the encoder anew on its node: weights and packages are found there.

    Attributes:
        folder: the driver's; relative paths in params mean what they mean there, where a node shares that disk.
        provenance: what the driver's encoder says decides a feature.
        gpus: how many the actor was given.
    """

    kind: type[Encoder]
    params: Any
    media: str
    folder: str
    provenance: dict[str, Any]
    gpus: float


class Actor:
    """A worker of extract/engine/crew.py, wherever Ray found room for it."""

    def run(self, number: int, address: tuple[str, int], secret: bytes, order: Order) -> None:
        """Serve the engine at `address` until it hangs up.

        Raises:
            UserError: this node would compute other values, or cannot compute any.
        """
        import ray

        where = f"node {ray.util.get_node_ip_address()}"
        if os.path.isdir(order.folder):
            os.chdir(order.folder)
        if not order.gpus:
            os.environ.setdefault("EMOFUSE_DEVICE", "cpu")
        try:
            encoder = order.kind(order.params, Path(order.media))
            found = encoder.provenance()
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if differences := list(_differences(order.provenance, found)):
            raise UserError(
                f"{where} would compute other features than this machine: {'; '.join(differences)}; install the same "
                "packages and weights on both"
            )
        link = socket.create_connection(address)
        watch(link)
        conn = Connection(link.detach())
        answer_challenge(conn, secret)
        deliver_challenge(conn, secret)
        conn.send((number, where))
        serve(conn, encoder)


def watch(link: socket.socket) -> None:
    """Have the system notice that the other side's machine is gone."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in SILENCE.items():
        if hasattr(socket, name):  # macOS has other names for some
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _differences(here: Any, there: Any, at: str = "") -> Iterator[str]:
    """What differs between two provenances, one line each."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted({*here, *there}):
            yield from _differences(here.get(name), there.get(name), f"{at}.{name}" if at else name)
    elif here != there:
        yield f"{at} is {there!r} there, {here!r} here"
