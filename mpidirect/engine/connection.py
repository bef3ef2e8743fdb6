"""How an engine connects to its controller."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import zmq

from ..errors import ConnectionFailed
from ..memory import process_memory
from ..protocol import messages
from ..protocol.names import ANCHOR, control_name, task_name
from ..transport.base import Connection
from ..transport.unix import UnixConnection
from ..transport.zeromq import LARGEST, Context, Dealer


@contextmanager
def connect(invitation: Any, engine: int) -> Iterator[tuple[Connection, Dealer]]:
    """The task connection and the control connection of this engine."""
    process_memory.permit()
    context, address = Context(), reachable(invitation.addresses)
    tasks = _tasks(invitation, engine, context, address)
    control = Dealer.of_engine(context, address, control_name(engine), invitation.credentials)
    _join(engine, tasks, control)
    yield tasks, control
    tasks.close()  # the control socket belongs to its thread, which ends with the process


def connect_anchor(invitation: Any, number: int) -> Connection:
    """The connection of an anchor: number 0 is the one that spawns engines."""
    context, address = Context(), reachable(invitation.addresses)
    tasks = _tasks(invitation, ANCHOR - number, context, address)
    _join(ANCHOR - number, tasks)
    return tasks


def _tasks(invitation: Any, engine: int, context: zmq.Context[Any], address: str) -> Connection:
    if invitation.tasks:
        return UnixConnection(invitation.tasks, task_name(engine), LARGEST)
    return Dealer.of_engine(context, address, task_name(engine), invitation.credentials)


def _join(engine: int, *connections: Connection) -> None:
    """Say who is there."""
    place, node = process_memory.domain(), process_memory.node()
    joined = messages.encode(messages.EngineHello(engine, socket.gethostname(), os.getpid(), place, node))
    for connection in connections:
        connection.put([joined, b""])  # the empty one tells the connection


def reachable(addresses: list[str], timeout: float = 3.0) -> str:
    """The first of `addresses` that something listens on."""
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme != "tcp":
            return address
        try:
            socket.create_connection((parts.hostname or "", parts.port or 0), timeout).close()
        except OSError:
            continue
        return address
    raise ConnectionFailed(
        f"{socket.gethostname()} reaches the controller at none of {', '.join(addresses)}: "
        "is there a firewall between the nodes?"
    )
