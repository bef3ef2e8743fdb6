"""The processes of jobs on this host: found by their environment, and ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

from .process_identity import belongs as belongs
from .process_identity import birth as birth
from .variables import CLUSTER, SPAWN

# Ends a rank that runs no user code. The rank wrapper survives, and writes no note: the note would be taken
# for the next process of the rank.
DISCARD_SIGNAL = signal.SIGUSR2
SPAWN_LIMIT = 5.0  # Seconds in which the launcher has started what was requested.


def alive(pid: int, born: str) -> bool:
    """Return whether process `pid` with this birth (`birth`) still runs."""
    return birth(pid) == born


def members(cluster: str) -> list[psutil.Process]:
    """Return the processes of a cluster's job on this host.

    Processes are found by their environment: a launcher may give each rank a session of its own, and a rank
    whose mpiexec was killed has another parent.
    """
    return members_of([cluster]).get(cluster, [])


def members_of(clusters: Iterable[str] | None = None) -> dict[str, list[psutil.Process]]:
    """Return the processes of the jobs of some clusters, or of all clusters, by cluster."""
    import psutil

    wanted = None if clusters is None else set(clusters)
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.uids().real != os.getuid():
                continue
            cluster = process.environ().get(CLUSTER)
        except (psutil.Error, OSError):
            continue
        if cluster and (wanted is None or cluster in wanted):
            found.setdefault(cluster, []).append(process)
    return found


def count(cluster: str, command: list[str]) -> int:
    """Count the processes of a cluster's job whose command ends with `command`, without forked children.

    Two words may stand before `command` (a shell and a script that run Python). The command of mpiexec itself
    is longer.
    """
    import psutil

    parents = {}
    for process in members(cluster):
        try:
            words = process.cmdline()
            if words[-len(command) :] == command and len(words) <= len(command) + 2:
                parents[process.pid] = process.ppid()
        except psutil.Error:
            continue
    return sum(parent not in parents for parent in parents.values())


def end(cluster: str, grace: float) -> list[int]:
    """End the processes of a cluster's job on this host.

    Parameters
    ----------
    cluster : str
        The cluster's id.
    grace : float
        Seconds between SIGTERM and SIGKILL. Without grace, only SIGKILL is sent.

    Returns
    -------
    list of int
        The processes that could not be ended.
    """
    left = members(cluster)
    if grace > 0:
        _send(left, signal.SIGTERM)
        left = _wait(left, grace)
    deadline = time.monotonic() + 5  # A killed process in a system call ends a moment later.
    while left and time.monotonic() < deadline:
        _send(left, signal.SIGKILL)
        _wait(left, 1)
        left = members(cluster)  # Processes may have started other processes meanwhile.
    return [process.pid for process in left]


def end_spawn(cluster: str, number: int) -> None:
    """End the processes of this host that came from one spawn of a cluster's job, and run no user code yet.

    A thread does this for `SPAWN_LIMIT` seconds, because the launcher may still be starting some of them.
    """
    threading.Thread(target=_end_spawn, args=(cluster, str(number)), daemon=True).start()


def _end_spawn(cluster: str, number: str) -> None:
    import psutil

    deadline = time.monotonic() + SPAWN_LIMIT
    while time.monotonic() < deadline:
        found = [process for process in members(cluster) if _variable(process, SPAWN) == number]
        _send(sorted(found, key=psutil.Process.create_time), DISCARD_SIGNAL)  # Rank wrappers are older.
        time.sleep(0.5)


def _variable(process: psutil.Process, name: str) -> str:
    """Return a variable of a process; empty if there is none."""
    import psutil

    try:
        return str(process.environ().get(name, ""))
    except psutil.Error:
        return ""


def _send(targets: list[psutil.Process], signum: int) -> None:
    """Send a signal to processes; last to those above this one, whose end may end this process."""
    import psutil

    above = {process.pid for process in psutil.Process().parents()}
    for process in sorted(targets, key=lambda process: process.pid in above):
        try:
            process.send_signal(signum)  # psutil checks that the number still belongs to the same process.
        except psutil.Error:
            pass


def _wait(left: list[psutil.Process], limit: float) -> list[psutil.Process]:
    """Wait until all processes have ended; return those that have not. A zombie has ended."""
    deadline = time.monotonic() + limit
    while (left := [process for process in left if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _lives(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
