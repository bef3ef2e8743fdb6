"""Spawning of engines by a running rank, and their admission to the job."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from mpi4py import MPI

from ...files.job_file import Owner
from ...job import processes
from ...job.parent import Parent
from ...job.signals import send_signal
from ...job.variables import ANCHOR_PLACE, CLUSTER, FIRST_PLACE, SPAWN, SPAWNED_RANK
from ...mpi.fault_tolerance import Tolerance
from ...mpi.world import JOIN_LIMIT, free_join, time_limit
from ...protocol import messages
from ...transport.base import Closed, Connection
from ..process_examiner import ProcessExaminer

log = logging.getLogger(__name__)

BUSY_WAIT = 50  # Milliseconds between two checks for stacks that a thread reads.
ADMISSION_TIMEOUT = 120.0  # Seconds after which a spawned engine that is not admitted ends.


class Hosts(NamedTuple):
    """The placement of engines on several hosts.

    Attributes
    ----------
    slots : list of (str, int)
        The hosts, and the number of engines that have room on each host.
    file : str
        The file that names the hosts for MPI; all hosts see it.
    """

    slots: list[tuple[str, int]]
    file: str

    def write(self, engines: Sequence[int], size: int) -> None:
        """Write the file for the next spawn.

        Parameters
        ----------
        engines : sequence of int
            The engines to spawn.
        size : int
            The number of all engines.
        """
        host_of = layout(self.slots, size)
        counts = Counter(host_of[engine] for engine in engines)
        Path(self.file).write_text("".join(f"{host}:{count}\n" for host, count in counts.items()))

    def write_anchor(self) -> None:
        """Write the file for the spawn of the first anchor, on the first host."""
        Path(self.file).write_text(f"{self.slots[0][0]}:1\n")


def layout(slots: Sequence[tuple[str, int]], size: int) -> list[str]:
    """Return the host of each of `size` engines.

    Neighbours share a host. Engines beyond the slots are spread evenly.

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


def placement(slots: list[tuple[str, int]], directory: str) -> Hosts | None:
    """Return the placement on hosts with `slots`, by a file in `directory`; None if there is one host."""
    return Hosts(slots, f"{directory}/engines.hosts") if len(slots) > 1 else None


class EngineStart(NamedTuple):
    """The data that engines get over MPI from the rank that starts them.

    Attributes
    ----------
    invitation : EngineEndpoint
        The controller's addresses, and how to connect.
    tolerance : Tolerance
        The failures that this MPI can survive.
    hosts : Hosts or None
        The placement, if there are several hosts.
    controller : Owner or None
        The process of the controller, for an anchor.
    """

    invitation: Any
    tolerance: Tolerance
    hosts: Hosts | None = None
    controller: Owner | None = None


class Spawner:
    """Spawns engines in the order of the request; they have an ``MPI_COMM_WORLD`` of their own.

    Parameters
    ----------
    command : list of str
        The command that started this rank.
    start : EngineStart
        The start data for new engines.
    """

    def __init__(self, command: list[str], start: EngineStart) -> None:
        self._command = command
        self._start = start

    def spawn(self, order: messages.SpawnEngines) -> messages.EnginesSpawned:
        """Start a process for each engine of an order.

        MPI waits for ever for a process that dies before it has initialized MPI. The controller learns of
        this death, and ends this rank as well.
        """
        try:
            children = start_processes(self._command, order, self._start.hosts)
            send_start(children, self._start)
        except MPI.Exception as e:
            return messages.EnginesSpawned(f"MPI can't start it: {e}")
        return messages.EnginesSpawned()


def start_processes(command: list[str], order: messages.SpawnEngines, hosts: Hosts | None) -> MPI.Intercomm:
    """Start engines by `command`; they wait for their start data then.

    Neighbours are one command for MPI: MPICH aborts if it is given more than some forty commands.
    """
    info = MPI.Info.Create()
    info.Set("wdir", order.directory)
    if hosts is not None:
        hosts.write(order.engines, order.size)
        info.Set("hostfile", hosts.file)
    spawn = f"{SPAWN}={order.number}"
    first_places = Counter(engine + 1 - rank for rank, engine in enumerate(order.engines))
    arguments = [[f"{FIRST_PLACE}={first}", spawn, *command] for first in first_places]
    runs = len(first_places)
    try:
        return MPI.COMM_SELF.Spawn_multiple(
            ["env"] * runs, arguments, list(first_places.values()), [info] * runs
        )
    finally:
        info.Free()


def start_anchor(command: list[str], start: EngineStart) -> None:
    """Start an anchor by `command` on this host, and send it its start data."""
    info = MPI.Info.Create()
    if start.hosts is not None:
        start.hosts.write_anchor()
        info.Set("hostfile", start.hosts.file)
    try:
        send_start(MPI.COMM_SELF.Spawn("env", [f"{SPAWNED_RANK}={ANCHOR_PLACE}", *command], 1, info), start)
    finally:
        info.Free()


def send_start(children: MPI.Intercomm, start: EngineStart) -> None:
    """Send engines their start data, one by one: a broadcast of objects would first make a communicator."""
    for k in range(children.remote_size):
        children.send(start, k)


def serve(tasks: Connection, spawner: Spawner, watch: AbstractContextManager[None]) -> None:
    """Serve orders to an anchor: to spawn engines within `watch`, and to signal processes of its host."""
    parent, examiner = Parent(), ProcessExaminer()
    port, join_ends = "", 0.0
    with contextlib.suppress(Closed):  # The controller is gone.
        while not parent.gone():
            if port and time.monotonic() > join_ends:
                _free_join(port)
                port = ""
            if not tasks.poll(BUSY_WAIT if examiner.busy else 1000):
                while examiner.due:
                    tasks.put([messages.encode(examiner.due.popleft())], wait=True)
                continue
            message = messages.decode_to_engine(tasks.first(wait=True))
            tasks.rest()
            if isinstance(message, messages.Stop):
                return
            if isinstance(message, messages.SpawnEngines):
                with watch:
                    answer = spawner.spawn(message)
                tasks.put([messages.encode(answer)], wait=True)
            elif isinstance(message, messages.ExamineProcesses):
                examiner.examine(message)
            elif isinstance(message, messages.SignalProcess):
                send_signal(message.pid, message.signum)
            elif isinstance(message, messages.WatchJoin):
                port, join_ends = message.port, time.monotonic() + JOIN_LIMIT + message.new
            elif isinstance(message, messages.EndSpawn):
                processes.end_spawn(os.environ.get(CLUSTER, ""), message.number)


def _free_join(port: str) -> None:
    """Take the place of new engines that do not join, for which the controller and others wait in MPI."""
    log.error("new engines have not connected by MPI in time: the attempt is ended")
    with time_limit(), contextlib.suppress(MPI.Exception):
        free_join(port)


def await_admission(tasks: Connection) -> messages.PrepareCommunicators | None:
    """Wait until all ranks are ready for this new engine; return None if the engine is not admitted."""
    order = _next(tasks)
    if not isinstance(order, messages.PrepareCommunicators):
        return None
    tasks.put([messages.encode(messages.ReadyToJoin(order.epoch))], wait=True)
    return order if isinstance(_next(tasks), messages.MakeCommunicators) else None


def _next(tasks: Connection) -> messages.Message | None:
    """Return the next message; None if none arrives in time."""
    if not tasks.poll(int(1000 * ADMISSION_TIMEOUT)):
        return None
    message = messages.decode_to_engine(tasks.first(wait=True))
    tasks.rest()
    return message
