"""What processes use: of the processors, and of memory."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

IDLE_PERCENT = 10.0  # of all cores together


def children() -> set[psutil.Process]:
    """The processes that this one has started, and theirs."""
    return descendants(None)


def descendants(pid: int | None) -> set[psutil.Process]:
    """The processes that a process, or this one, has started, and theirs; none if it is gone."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def end(left: Iterable[psutil.Process]) -> None:
    """See to it that these are gone: they have a moment to go by themselves."""
    for process in psutil.wait_procs(list(left), timeout=10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def await_idle(limit: float = 1.0) -> None:
    """Wait until the machine is idle, at most `limit` seconds: systems clean up after their calls."""
    end = time.monotonic() + limit
    while psutil.cpu_percent(0.05) > IDLE_PERCENT and time.monotonic() < end:
        pass


def processor_seconds(family: Iterable[psutil.Process]) -> float:
    """Seconds of processor time that these have used so far; those that are gone count nothing."""
    total = 0
    for process in family:
        for account in Path(f"/proc/{process.pid}/task").glob(
            "*/schedstat"
        ):  # finer than the 10 ms of others
            try:
                total += int(account.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e9


def forget_peak(pid: int) -> None:
    """From now on, `peak` is counted anew."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:  # then it counts from the start
        pass


def peak(pid: int) -> float:
    """The most memory (MB) that the process has had."""
    return _status(pid, "VmHWM")


def resident(pid: int) -> float:
    """The memory (MB) that the process has."""
    return _status(pid, "VmRSS")


def _status(pid: int, field: str) -> float:
    found = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0
