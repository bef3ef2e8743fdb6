"""How engines are started by a rank that runs, and how they come in."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mpi4py import MPI

from ...job.parent import Parent
from ...job.process_identity import belongs
from ...job.variables import CLUSTER, SPAWNED_RANK
from ...mpi.fault_tolerance import Tolerance
from ...protocol import messages
from ...transport.base import Closed, Connection

ARRIVING = 60.0  # seconds after which a new engine that nobody has asked in leaves


class Hosts(NamedTuple):
    """Where engines are, with an MPI that is told.

    Attributes
    ----------
    slots : list of (str, int)
        The hosts, and how many engines each has room for.
    file : str
        Where MPI is told of them, which all hosts see.
    """

    slots: list[tuple[str, int]]
    file: str

    def write(self, engines: Sequence[int], size: int) -> None:
        """Have the next ones be where these engines of so many belong."""
        near = layout(self.slots, size)
        at = Counter(near[engine] for engine in engines)
        Path(self.file).write_text("".join(f"{host}:{count}\n" for host, count in at.items()))


def layout(slots: Sequence[tuple[str, int]], size: int) -> list[str]:
    """The host of each of so many engines: neighbours share one, and those beyond the slots are spread.

    Examples
    --------
    >>> layout([("n1", 2), ("n2", 1)], 3)
    ['n1', 'n1', 'n2']
    >>> layout([("n1", 2), ("n2", 1)], 5)
    ['n1', 'n1', 'n1', 'n1', 'n2']
    """
    rounds, left = divmod(size, sum(count for _, count in slots))
    hosts = []
    for host, count in slots:
        more = min(count, left)
        left -= more
        hosts += [host] * (count * rounds + more)
    return hosts


class EngineStart(NamedTuple):
    """What an engine is told at its start, by MPI."""

    invitation: Any
    tolerance: Tolerance
    hosts: Hosts | None = None  # if there are several


class Spawner:
    """Starts engines, which have an ``MPI_COMM_WORLD`` of their own, in the order that they are given in.

    Parameters
    ----------
    command : list of str
        What started this rank.
    welcome : Welcome
        What the new ones are told.
    """

    def __init__(self, command: list[str], welcome: EngineStart) -> None:
        self._command = command
        self._welcome = welcome

    def spawn(self, order: messages.SpawnEngines) -> messages.EnginesSpawned:
        """Start a process for each of these engines.

        MPI waits for ever for one that dies before it has begun with MPI.  Then it can't be used any more
        here, whoever waits: the controller, which learns of that death, ends this engine, too.
        """
        try:
            children = start(self._command, order, self._welcome.hosts)
            greet(children, self._welcome)
        except MPI.Exception as e:
            return messages.EnginesSpawned(f"MPI can't start it: {e}")
        return messages.EnginesSpawned()


def start(command: list[str], order: messages.SpawnEngines, hosts: Hosts | None) -> MPI.Intercomm:
    """Start them by `command`; they wait for their welcome then."""
    n = len(order.engines)
    info = MPI.Info.Create()
    info.Set("wdir", order.directory)
    if hosts is not None:
        hosts.write(order.engines, order.size)
        info.Set("hostfile", hosts.file)
    arguments = [[f"{SPAWNED_RANK}={engine + 1}", *command] for engine in order.engines]
    try:
        return MPI.COMM_SELF.Spawn_multiple(["env"] * n, arguments, [1] * n, [info] * n)
    finally:
        info.Free()


def greet(children: MPI.Intercomm, welcome: EngineStart) -> None:
    """Tell them their welcome: each by itself, as a broadcast of objects would make a communicator first."""
    for k in range(children.remote_size):
        children.send(welcome, k)


def serve(tasks: Connection, spawner: Spawner) -> None:
    """Be an anchor: spawn engines, if it is the first one, or end processes of its host, when told to."""
    parent = Parent()
    with contextlib.suppress(Closed):  # the controller is gone
        while not parent.gone():
            if not tasks.poll(1000):
                continue
            message = messages.decode_to_engine(tasks.first(wait=True))
            tasks.rest()
            if isinstance(message, messages.Stop):
                return
            if isinstance(message, messages.SpawnEngines):
                tasks.put([messages.encode(spawner.spawn(message))], wait=True)
            elif isinstance(message, messages.KillProcess) and belongs(
                message.pid, os.environ.get(CLUSTER, "")
            ):
                with contextlib.suppress(OSError):  # it is dead
                    os.kill(message.pid, signal.SIGKILL)


def asked_in(tasks: Connection) -> messages.PrepareCommunicators | None:
    """Wait until a new engine may come in, and all are ready for it; None if it may not."""
    order = _next(tasks)
    if not isinstance(order, messages.PrepareCommunicators):
        return None
    tasks.put([messages.encode(messages.ReadyToJoin(order.epoch))], wait=True)
    return order if isinstance(_next(tasks), messages.MakeCommunicators) else None


def _next(tasks: Connection) -> messages.Message | None:
    if not tasks.poll(int(1000 * ARRIVING)):
        return None
    message = messages.decode_to_engine(tasks.first(wait=True))
    tasks.rest()
    return message
