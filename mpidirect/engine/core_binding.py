"""Which cores an engine runs on, where the user has asked for that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# What the cores of a processor are told apart by, in the kernel's files.
_TOPOLOGY = {
    "hwthread": (),
    "core": ("topology/physical_package_id", "topology/core_id"),
    "socket": ("topology/physical_package_id",),
}


def bind(
    how: str, cores: int, local_rank: int, local_size: int, root: Path = Path("/sys/devices/system")
) -> None:
    """Bind this process, with all its threads, to its share of those that it may use.

    MPIs can do it for processes that they start, but each in its own way, and for those that are spawned only
    some can.

    Parameters
    ----------
    how : str
        ``none``, ``hwthread``, ``core``, ``numa`` or ``socket``.
    cores : int
        How many cores, or hardware threads, an engine has.
    local_rank, local_size : int
        Which engine of its host this is, and of how many.
    root : Path
        Where the kernel tells of its processors.
    """
    if how == "none":
        return
    mine = share(units(how, os.sched_getaffinity(0), root), how, cores, local_rank, local_size)
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), mine)


def units(how: str, allowed: set[int], root: Path) -> list[set[int]]:
    """The cores, sockets, … of this host, in order: the processors of each that may be used."""
    found: dict[tuple[int, ...], set[int]] = {}
    for cpu in sorted(allowed):
        found.setdefault(_place(how, cpu, root), set()).add(cpu)
    return [found[place] for place in sorted(found)]


def _place(how: str, cpu: int, root: Path) -> tuple[int, ...]:
    directory = root / "cpu" / f"cpu{cpu}"
    if how == "numa":
        nodes = [int(path.name[4:]) for path in directory.glob("node[0-9]*")]
        return (min(nodes, default=0),)
    try:
        place = tuple(int((directory / name).read_text()) for name in _TOPOLOGY[how])
    except OSError:  # the kernel does not tell
        place = ()
    return place or (cpu,)


def share(units: Sequence[set[int]], how: str, cores: int, local_rank: int, local_size: int) -> set[int]:
    """The processors for one of the engines of a host.

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
