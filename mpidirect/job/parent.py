"""Whether the processes that a job belongs to still run: without them it is an orphan, and should end."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NoReturn

from ..files.job_file import Owner

CLUSTER = "MPIDIRECT_CLUSTER"  # in the environment of every process of a job: its cluster's id
GUARD = "MPIDIRECT_GUARD"  # in the environment of a rank with a guard: the guard's process number
PLACE = "MPIDIRECT_PLACE"  # in the environment of a rank that takes the place of a dead one: which
# In the environment of a job: 1 if rank 1 is to spawn the engines; host:slots,… if so on several hosts, each
# of which has an anchor then.
SPAWNS = "MPIDIRECT_SPAWNS"
LEFT_IN_ORDER = 99  # exit code that tells the guard that all is well; anyone could exit with 0


def anchors(said: str) -> list[tuple[str, int]]:
    """What `SPAWNS` says: the hosts with an anchor, and how many engines each has room for.

    Examples
    --------
    >>> anchors(""), anchors("1"), anchors("n1:4,n2:4")
    ([], [('', 0)], [('n1', 4), ('n2', 4)])
    """
    if said in ("", "1"):
        return [("", 0)] if said else []
    return [(host, int(slots)) for host, _, slots in (word.rpartition(":") for word in said.split(","))]


class Parent:
    """Who started this process; with a guard (`launchers/rank_wrapper.py`) between them, who started that."""

    def __init__(self) -> None:
        self._guarded = os.environ.get(GUARD) == str(os.getppid())
        self._known = 0, 0
        self._known = self._ancestors()

    @property
    def guarded(self) -> bool:
        """Whether there is a guard."""
        return self._guarded

    def command(self) -> list[str]:
        """What started this rank, its guard included: the same starts another one. Empty without a guard."""
        if not self._guarded:
            return []
        try:
            words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            return []
        return [os.fsdecode(word) for word in words]

    def gone(self) -> bool:
        """Whether one of them has ended."""
        return self._ancestors() != self._known

    def _ancestors(self) -> tuple[int, int]:
        parent = os.getppid()
        return parent, self._parent_of(parent) if self._guarded else 0

    def _parent_of(self, pid: int) -> int:
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return 0  # not Linux: then only the guard itself is watched
        except (OSError, ValueError, IndexError):
            return self._known[1]  # no file can be opened now: that tells nothing


def birth(pid: int) -> str | None:
    """What tells process `pid` from a later one of the same number; None when there is no such process.

    On Linux this is the kernel's count since boot, which no correction of the clock changes.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return _birth_elsewhere(pid) if not Path("/proc/self/stat").exists() else None
    except ProcessLookupError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{_boot()}:{fields[18]}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return ""


def _birth_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def belongs(pid: int, cluster: str) -> bool:
    """Whether process `pid` is of the job of `cluster`, and ours: who can't be asked is neither."""
    try:
        with Path(f"/proc/{pid}/environ").open("rb") as file:
            ours = os.fstat(file.fileno()).st_uid == os.getuid()
            return ours and f"{CLUSTER}={cluster}".encode() in file.read().split(b"\0")
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists() and _belongs_elsewhere(pid, cluster)
    except OSError:
        return False


def _belongs_elsewhere(pid: int, cluster: str) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.uids().real == os.getuid() and process.environ().get(CLUSTER) == cluster
    except psutil.Error:
        return False


def this_process() -> Owner:
    """This process as the owner of a job that is to end with it."""
    return Owner(pid=os.getpid(), born=birth(os.getpid()) or "", host=socket.gethostname())


def is_gone(owner: Owner | None) -> bool:
    """Whether a job's owner has ended, as far as that can be seen from this host."""
    if owner is None or owner.host != socket.gethostname():
        return False
    try:
        return birth(owner.pid) != owner.born
    except OSError:  # no descriptor is left to look with
        return False


def leave_in_order() -> NoReturn:
    """End this process at once, as one that did what it was to do."""
    os._exit(LEFT_IN_ORDER if Parent().guarded else 0)
