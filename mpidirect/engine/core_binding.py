"""The cores that an engine runs on, if the user has configured binding."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

# The kernel's files that identify the units of a host, for each kind of unit.
_TOPOLOGY = {
    "hwthread": (),
    "core": ("topology/physical_package_id", "topology/core_id"),
    "socket": ("topology/physical_package_id",),
}


def bind(
    how: str, cores: int, local_rank: int, local_size: int, root: Path = Path("/sys/devices/system")
) -> None:
    """Bind this process, with all its threads, to its share of the processors that it may use.

    MPI launchers can bind the processes that they start, but each in its own way, and only some of them can
    spawned processes.

    Parameters
    ----------
    how : str
        ``none``, ``hwthread``, ``core``, ``numa`` or ``socket``.
    cores : int
        The number of cores, or hardware threads, of an engine.
    local_rank, local_size : int
        The rank of this engine among the engines of its host, and their number.
    root : Path
        The directory in which the kernel describes its processors.
    """
    if how == "none":
        return
    mine = share(units(how, os.sched_getaffinity(0), root), how, cores, local_rank, local_size)
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # the thread has ended
            os.sched_setaffinity(int(thread.name), mine)


def units(how: str, allowed: set[int], root: Path) -> list[set[int]]:
    """Return the units of this host (cores, sockets, …) in order: the usable processors of each unit."""
    found: dict[tuple[int, ...], set[int]] = {}
    for cpu in sorted(allowed):
        found.setdefault(_unit(how, cpu, root), set()).add(cpu)
    return [found[unit] for unit in sorted(found)]


def _unit(how: str, cpu: int, root: Path) -> tuple[int, ...]:
    """Return the numbers that identify the unit of a processor."""
    directory = root / "cpu" / f"cpu{cpu}"
    if how == "numa":
        nodes = [int(path.name[4:]) for path in directory.glob("node[0-9]*")]
        return (min(nodes, default=0),)
    try:
        unit = tuple(int((directory / name).read_text()) for name in _TOPOLOGY[how])
    except OSError:  # The kernel does not describe the processor.
        unit = ()
    return unit or (cpu,)


def share(units: Sequence[set[int]], how: str, cores: int, local_rank: int, local_size: int) -> set[int]:
    """Return the processors for one of the engines of a host.

    Examples
    --------
    >>> [share([{0}, {1}, {2}, {3}], "core", 2, k, 3) for k in range(3)]
    [{0, 1}, {2, 3}, {0, 1}]
    >>> [share([{0, 1}, {2, 3}], "socket", 1, k, 4) for k in range(4)]
    [{0, 1}, {0, 1}, {2, 3}, {2, 3}]
    """
    n = len(units)
    if how in ("numa", "socket"):
        return units[local_rank * n // local_size % n]
    return set().union(*(units[(local_rank * cores + k) % n] for k in range(min(cores, n))))
