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
from ..wire import memory, messages
from ..wire.connections import Dialed
from ..wire.frames import Socket
from ..wire.names import ANCHOR, control_name, task_name
from ..wire.sockets import LARGEST, authenticate, tune, wait_for_server


@contextmanager
def connect(invitation: Any, engine: int) -> Iterator[tuple[Socket | Dialed, Socket]]:
    """The task connection and the control connection of this engine."""
    memory.permit()
    context, address = zmq.Context(), reachable(invitation.addresses)
    tasks = _tasks(invitation, engine, context, address)
    control = _connection(invitation, control_name(engine), context, address)
    _join(engine, tasks, control)
    yield tasks, control
    tasks.close()  # the control socket belongs to its thread, which ends with the process


def connect_anchor(invitation: Any, number: int) -> Socket | Dialed:
    """The connection of an anchor: number 0 is the one that spawns engines."""
    context, address = zmq.Context(), reachable(invitation.addresses)
    tasks = _tasks(invitation, ANCHOR - number, context, address)
    _join(ANCHOR - number, tasks)
    return tasks


def _tasks(invitation: Any, engine: int, context: zmq.Context[Any], address: str) -> Socket | Dialed:
    if invitation.tasks:
        return Dialed.local(invitation.tasks, task_name(engine), LARGEST, blocking=True)
    return _connection(invitation, task_name(engine), context, address)


def _connection(invitation: Any, name: bytes, context: zmq.Context[Any], address: str) -> Socket:
    dealer = wait_for_server(tune(Socket.of(context, zmq.DEALER), linger=1000))
    dealer.setsockopt(zmq.ROUTING_ID, name)
    if invitation.engine_keys is not None:
        authenticate(dealer, invitation.server_key, invitation.engine_keys)
    dealer.connect(address)
    return dealer


def _join(engine: int, *sockets: Socket | Dialed) -> None:
    """Say who is there."""
    place, node = memory.place(), memory.node()
    joined = messages.encode(messages.Joined(engine, socket.gethostname(), os.getpid(), place, node))
    for socket_ in sockets:
        socket_.put([joined, b""])  # the empty one tells the connection


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
