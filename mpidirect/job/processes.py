"""Processes of this host: told apart beyond doubt, found, ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

from .process_identity import belongs as belongs
from .process_identity import birth as birth
from .variables import CLUSTER


def alive(pid: int, born: str) -> bool:
    """Whether the process that had number `pid` when it was born still runs."""
    return birth(pid) == born


def members(cluster: str) -> list[psutil.Process]:
    """The processes of a cluster's job on this host, whoever their parents are now.

    They are known by their environment: a launcher may give each rank a session of its own, and a rank whose
    mpiexec was killed has another parent.
    """
    return members_of([cluster]).get(cluster, [])


def members_of(clusters: Iterable[str] | None = None) -> dict[str, list[psutil.Process]]:
    """The processes of some clusters' jobs, or of all, by cluster."""
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
    """How many processes of a cluster's job run a command that ends so, those that they forked apart.

    Two words may stand before it (a shell and a script for a Python); mpiexec's own command is longer.
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
    """End what is left of a cluster's job on this host; returns the processes that could not be ended.

    With SIGTERM first, and after `grace` seconds, or at once if that is 0, with SIGKILL.
    """
    left = members(cluster)
    if grace > 0:
        _send(left, signal.SIGTERM)
        left = _wait(left, grace)
    deadline = time.monotonic() + 5  # a killed process in a system call takes a moment
    while left and time.monotonic() < deadline:
        _send(left, signal.SIGKILL)
        _wait(left, 1)
        left = members(cluster)  # what they started meanwhile
    return [process.pid for process in left]


def _send(targets: list[psutil.Process], signum: int) -> None:
    import psutil

    for process in targets:
        try:
            process.send_signal(signum)  # checks that it is still the same process
        except psutil.Error:
            pass


def _wait(left: list[psutil.Process], limit: float) -> list[psutil.Process]:
    """Wait until all have ended; returns those that have not. A zombie is dead, whoever should collect it."""
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
