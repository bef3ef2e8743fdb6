"""How engines are started by a rank that runs, and how they come in."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from mpi4py import MPI

from ..parent import PLACE, Parent
from ..tolerance import Tolerance
from ..transport.base import Closed, Connection
from ..wire import messages

ARRIVING = 60.0  # seconds after which a new engine that nobody has asked in leaves


class Welcome(NamedTuple):
    """What an engine is told at its start, by MPI."""

    invitation: Any
    tolerance: Tolerance


class Spawner:
    """Starts engines, which have an ``MPI_COMM_WORLD`` of their own, in the order that they are given in.

    Parameters
    ----------
    command : list of str
        What started this rank.
    welcome : Welcome
        What the new ones are told.
    """

    def __init__(self, command: list[str], welcome: Welcome) -> None:
        self._command = command
        self._welcome = welcome

    def spawn(self, order: messages.Spawn) -> messages.Spawned:
        """Start a process for each of these engines.

        MPI waits for ever for one that dies before it has begun with MPI.  Then it can't be used any more
        here, whoever waits: the controller, which learns of that death, ends this engine, too.
        """
        try:
            children = start(self._command, order)
            children.bcast(self._welcome, root=MPI.ROOT)
        except MPI.Exception as e:
            return messages.Spawned(f"MPI can't start it: {e}")
        return messages.Spawned()


def start(command: list[str], order: messages.Spawn) -> MPI.Intercomm:
    """Start them by `command`; they wait for their welcome then."""
    n = len(order.engines)
    info = MPI.Info.Create()
    info.Set("wdir", order.directory)
    arguments = [[f"{PLACE}={engine + 1}", *command] for engine in order.engines]
    try:
        return MPI.COMM_SELF.Spawn_multiple(["env"] * n, arguments, [1] * n, [info] * n)
    finally:
        info.Free()


def serve(tasks: Connection, spawner: Spawner) -> None:
    """Be the anchor: the rank that spawns engines, and does nothing else."""
    parent = Parent()
    with contextlib.suppress(Closed):  # the controller is gone
        while not parent.gone():
            if not tasks.poll(1000):
                continue
            message = messages.for_engine(tasks.first(wait=True))
            tasks.rest()
            if isinstance(message, messages.Stop):
                return
            if isinstance(message, messages.Spawn):
                tasks.put([messages.encode(spawner.spawn(message))], wait=True)


def asked_in(tasks: Connection) -> messages.Join | None:
    """Wait until a new engine may come in, and all are ready for it; None if it may not."""
    order = _next(tasks)
    if not isinstance(order, messages.Join):
        return None
    tasks.put([messages.encode(messages.Ready(order.epoch))], wait=True)
    return order if isinstance(_next(tasks), messages.Grow) else None


def _next(tasks: Connection) -> messages.Message | None:
    if not tasks.poll(int(1000 * ARRIVING)):
        return None
    message = messages.for_engine(tasks.first(wait=True))
    tasks.rest()
    return message
