"""Connections of an engine, and of an anchor, to the controller."""

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
    """Context manager: the task connection and the control connection of an engine."""
    process_memory.permit()
    context, address = Context(), reachable(invitation.addresses)
    tasks = _task_connection(invitation, engine, context, address)
    control = Dealer.of_engine(context, address, control_name(engine), invitation.credentials)
    _say_hello(engine, tasks, control)
    yield tasks, control
    tasks.close()  # The control thread owns its socket; the thread ends with the process.


def connect_anchor(invitation: Any, number: int) -> Connection:
    """Open the connection of an anchor; the anchor with number 0 spawns engines."""
    context, address = Context(), reachable(invitation.addresses)
    tasks = _task_connection(invitation, ANCHOR - number, context, address)
    _say_hello(ANCHOR - number, tasks)
    return tasks


def _task_connection(invitation: Any, engine: int, context: zmq.Context[Any], address: str) -> Connection:
    if invitation.tasks:
        return UnixConnection(invitation.tasks, task_name(engine), LARGEST)
    return Dealer.of_engine(context, address, task_name(engine), invitation.credentials)


def _say_hello(engine: int, *connections: Connection) -> None:
    """Tell the controller which engine has these connections."""
    place, node = process_memory.domain(), process_memory.node()
    hello = messages.encode(messages.EngineHello(engine, socket.gethostname(), os.getpid(), place, node))
    for connection in connections:
        connection.put([hello, b""])  # The empty frame is where the listener puts the name of the connection.


def reachable(addresses: list[str], timeout: float = 3.0) -> str:
    """Return the first of `addresses` at which a connection succeeds.

    Raises
    ------
    ConnectionFailed
        If there is no such address.
    """
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
