"""How an engine starts others, in the place of dead ones, and how these come in."""

from __future__ import annotations

from typing import Any, NamedTuple

from mpi4py import MPI

from ..parent import PLACE
from ..tolerance import Tolerance
from ..wire import messages
from ..wire.connections import Dialed
from ..wire.frames import Socket

ARRIVING = 60.0  # seconds after which a new engine that nobody has asked in leaves


class Welcome(NamedTuple):
    """What an engine is told at its start, by MPI."""

    invitation: Any
    tolerance: Tolerance


class Spawner:
    """Starts engines.

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
        n = len(order.engines)
        info = MPI.Info.Create({"wdir": order.directory})
        arguments = [[f"{PLACE}={engine + 1}", *self._command] for engine in order.engines]
        try:
            children = MPI.COMM_SELF.Spawn_multiple(["env"] * n, arguments, [1] * n, [info] * n)
            children.bcast(self._welcome, root=MPI.ROOT)
        except MPI.Exception as e:
            return messages.Spawned(f"MPI can't start it: {e}")
        finally:
            info.Free()
        return messages.Spawned()


def asked_in(tasks: Socket | Dialed) -> messages.Join | None:
    """Wait until a new engine may come in, and all are ready for it; None if it may not."""
    order = _next(tasks)
    if not isinstance(order, messages.Join):
        return None
    tasks.put([messages.encode(messages.Ready(order.epoch))], wait=True)
    return order if isinstance(_next(tasks), messages.Grow) else None


def _next(tasks: Socket | Dialed) -> messages.Message | None:
    if not tasks.poll(int(1000 * ARRIVING)):
        return None
    message = messages.for_engine(tasks.first(wait=True))
    tasks.rest()
    return message
