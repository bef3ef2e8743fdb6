"""The processor time and the memory that processes use."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

IDLE_PERCENT = 10.0  # of all cores together


def children() -> set[psutil.Process]:
    """Return the processes that this process has started, and their descendants."""
    return descendants(None)


def descendants(pid: int | None) -> set[psutil.Process]:
    """Return the descendants of a process (by default of this one); none if the process has ended."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def end(left: Iterable[psutil.Process]) -> None:
    """End these processes; they first have a moment to end by themselves."""
    for process in psutil.wait_procs(list(left), timeout=10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def await_idle(limit: float = 1.0) -> None:
    """Wait until the machine is idle, at most `limit` seconds, because systems clean up after their calls."""
    end = time.monotonic() + limit
    while psutil.cpu_percent(0.05) > IDLE_PERCENT and time.monotonic() < end:
        pass


def processor_seconds(family: Iterable[psutil.Process]) -> float:
    """Return the processor time of these processes in seconds; ended processes count nothing."""
    total = 0
    for process in family:
        for account in Path(f"/proc/{process.pid}/task").glob(
            "*/schedstat"
        ):  # finer than the 10 ms of other sources
            try:
                total += int(account.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e9


def forget_peak(pid: int) -> None:
    """Let `peak` count anew from now on."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:  # then `peak` counts from the start
        pass


def peak(pid: int) -> float:
    """Return the peak memory of the process (MB)."""
    return _status(pid, "VmHWM")


def resident(pid: int) -> float:
    """Return the present memory of the process (MB)."""
    return _status(pid, "VmRSS")


def _status(pid: int, field: str) -> float:
    found = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0
