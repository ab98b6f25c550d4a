"""The actor that the Ray engine runs on a node: a worker (extract/engine/worker.py) with one encoder."""

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

# A machine that loses power does not close its connections. TCP reports it as lost after 25 s without an answer.
SILENCE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}


@dataclass(frozen=True)
class Order:
    """Everything that an actor needs to construct the encoder on its node, which has the weights and packages.

    Attributes:
        kind: class of the encoder.
        params: params of the encoder.
        media: absolute path of the media folder.
        folder: working folder of the driver, to which paths in params are relative. The actor changes to it if it
            exists on the node.
        provenance: `Encoder.provenance` of the driver's encoder.
        gpus: number of GPUs assigned to the actor.
    """

    kind: type[Encoder[Any]]
    params: Any
    media: str
    folder: str
    provenance: dict[str, Any]
    gpus: float


class Actor:
    """A worker process on a node that Ray chose."""

    def run(self, number: int, address: tuple[str, int], secret: bytes, order: Order) -> None:
        """Connect to the engine and extract its items until it closes the connection.

        Args:
            number: number by which the engine knows this actor.
            address: (host, port) of the engine.
            secret: key with which both sides authenticate.
            order: describes the encoder.

        Raises:
            UserError: code, packages or weights on this node are missing or differ from the driver's.
        """
        import ray

        where = f"node {ray.util.get_node_ip_address()}"  # type: ignore[no-untyped-call]  # Ray declares no types here
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
                f"{where} differs from the machine that started the run: {'; '.join(differences)}; install the same "
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
    """Make TCP detect that the machine at the other end is lost."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in SILENCE.items():
        if hasattr(socket, name):  # macOS has other names for some
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _differences(here: Any, there: Any, at: str = "") -> Iterator[str]:
    """Yield one line for each difference between two provenances."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted({*here, *there}):
            yield from _differences(here.get(name), there.get(name), f"{at}.{name}" if at else name)
    elif here != there:
        yield f"{at} is {there!r} on the node and {here!r} on that machine"
