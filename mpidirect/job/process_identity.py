"""Identity of processes: their birth, the job that they belong to, and the owner of a job."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from ..files.hosts import is_this_host
from ..files.job_file import Owner
from .variables import CLUSTER

# While a process begins another program, its environment is empty for a moment.
_READS, _PAUSE = 20, 0.005  # seconds


def birth(pid: int) -> str | None:
    """Return a text that distinguishes process `pid` from a later process of the same number.

    On Linux the text contains the kernel's count since boot, which no correction of the clock changes.

    Returns
    -------
    str or None
        None if there is no such process, or if the process is a zombie.
    """
    try:
        state, *fields = _status(pid)
    except FileNotFoundError:
        return _birth_by_psutil(pid) if not Path("/proc/self/stat").exists() else None
    except ProcessLookupError:
        return None
    return None if state in "ZX" else f"{_boot_id()}:{fields[18]}"


def _status(pid: int) -> list[str]:
    """Return the kernel's information on process `pid`: state, parent, and more."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return ""


def _birth_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def belongs(pid: int, cluster: str) -> bool:
    """Return whether process `pid` is one of this user's in the job of `cluster`.

    A process that does not let its environment be read does not belong.
    """
    try:
        for _ in range(_READS):
            with Path(f"/proc/{pid}/environ").open("rb") as file:
                if os.fstat(file.fileno()).st_uid != os.getuid():
                    return False
                environment = file.read()
            if environment:
                return f"{CLUSTER}={cluster}".encode() in environment.split(b"\0")
            if birth(pid) is None:  # a zombie has no environment
                return False
            time.sleep(_PAUSE)
        return False
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists() and _belongs_by_psutil(pid, cluster)
    except OSError:
        return False


def _belongs_by_psutil(pid: int, cluster: str) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return bool(process.uids().real == os.getuid() and process.environ().get(CLUSTER) == cluster)
    except psutil.Error:
        return False


def ancestors(cluster: str) -> Iterator[int]:
    """Yield the processes of the job of `cluster` that have started this one: rank wrapper and launcher."""
    pid = os.getppid()
    while belongs(pid, cluster):
        yield pid
        try:
            pid = int(_status(pid)[1])
        except OSError:  # It has ended.
            return


def this_process() -> Owner:
    """Return this process as the owner of a job: the job ends with the process."""
    return _owner(os.getpid())


def parent_process() -> Owner:
    """Return the process that has started this one as the owner of a job."""
    return _owner(os.getppid())


def _owner(pid: int) -> Owner:
    return Owner(pid=pid, born=birth(pid) or "", host=socket.gethostname())


def is_gone(owner: Owner | None) -> bool:
    """Return whether a job's owner has ended, as far as this host can see."""
    if owner is None or not is_this_host(owner.host):
        return False
    try:
        return birth(owner.pid) != owner.born
    except OSError:  # This process has no file descriptor left.
        return False
