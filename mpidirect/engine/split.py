"""Groups of engines with communicators of their own, and functions that see these as their ``comm``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mpi4py import MPI

from ..wire.functions import namespace

_comms: dict[str, MPI.Comm] = {}  # of this engine's group, by the name of the groups


def make(name: str, groups: Sequence[Sequence[int]], engine: int) -> int:
    """Make the communicators of groups of engines: all engines call it together.

    Returns
    -------
    int
        The size of the communicator of this engine; 0 if it is in no group.
    """
    for k, group in enumerate(groups):
        if engine in group:
            comm = _comms[name] = MPI.COMM_WORLD.Split(k, group.index(engine))
            return comm.size
    MPI.COMM_WORLD.Split(MPI.UNDEFINED, 0)
    return 0


def free(names: Sequence[str]) -> None:
    """Nobody needs these any more; the members of each call it."""
    for name in names:
        comm = _comms.pop(name, MPI.COMM_NULL)
        if comm != MPI.COMM_NULL:
            comm.Free()


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Within it, ``comm``, ``rank`` and ``size`` are those of this engine's group."""
    if name not in _comms:
        raise RuntimeError("this engine has no such group (any more): make new ones by rc.split(…)")
    comm = _comms[name]
    scope = namespace()
    inside: dict[str, Any] = {"comm": comm, "rank": comm.rank, "size": comm.size}
    before = {key: scope[key] for key in inside if key in scope}
    scope.update(inside)
    try:
        yield
    finally:
        for key, value in inside.items():
            if scope.get(key) is value:  # else it is what the user wanted
                if key in before:
                    scope[key] = before[key]
                else:
                    del scope[key]
