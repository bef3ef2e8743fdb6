"""Groups of engines with communicators of their own, and functions that see the communicator as ``comm``.

The client sends these functions to engines by name, so mpi4py is imported only when they run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..serialize.functions import namespace

if TYPE_CHECKING:
    from mpi4py import MPI

_comms: dict[str, MPI.Comm] = {}  # The communicator of this engine's group, by the name of the groups.


def make(name: str, groups: Sequence[Sequence[int]], engine_of: dict[int, int]) -> int:
    """Make the communicators of groups of engines; all engines call this together.

    Parameters
    ----------
    name : str
        The name of the groups.
    groups : sequence of sequences of int
        The engines of each group.
    engine_of : dict
        The engine of each process number.

    Returns
    -------
    int
        The size of the communicator of this engine; 0 if it is in no group.
    """
    from mpi4py import MPI

    engine = engine_of[os.getpid()]
    for k, group in enumerate(groups):
        if engine in group:
            comm = _comms[name] = MPI.COMM_WORLD.Split(k, group.index(engine))
            return comm.size
    MPI.COMM_WORLD.Split(MPI.UNDEFINED, 0)
    return 0


def free(names: Sequence[str]) -> None:
    """Free the communicators of groups; all members of a group call this."""
    from mpi4py import MPI

    for name in names:
        comm = _comms.pop(name, MPI.COMM_NULL)
        if comm != MPI.COMM_NULL:
            comm.Free()


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Inside of the block, ``comm``, ``rank``, ``size`` and ``MPI.COMM_WORLD`` are the group's.

    ``MPI.COMM_WORLD`` is replaced as an attribute of mpi4py's module. Other references to the communicator of
    all engines, and C code, still have that communicator.
    """
    from mpi4py import MPI

    if name not in _comms:
        raise RuntimeError("this engine has no such group (any more): make new ones by rc.split(…)")
    comm = _comms[name]
    scope = namespace()
    inside: dict[str, Any] = {"comm": comm, "rank": comm.rank, "size": comm.size}
    before = {key: scope[key] for key in inside if key in scope}
    world = MPI.COMM_WORLD
    scope.update(inside)
    MPI.COMM_WORLD = comm  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        MPI.COMM_WORLD = world  # type: ignore[misc]
        for key, value in inside.items():
            if scope.get(key) is value:  # Otherwise user code has set the name.
                if key in before:
                    scope[key] = before[key]
                else:
                    del scope[key]


class GroupFunction:
    """A function that the members of a group call with the group's ``comm``.

    Parameters
    ----------
    name : str
        The name of the groups.
    f : callable
        The function.
    """

    def __init__(self, name: str, f: Callable[..., Any]) -> None:
        self.name = name
        self.f = f
        self.__name__ = getattr(f, "__name__", type(f).__name__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        with entered(self.name):
            return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupFunction, (self.name, self.f)
