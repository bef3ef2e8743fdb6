"""Communicators of groups of engines: each is made for the first collective of a view, and then kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpi4py import MPI

from ...mpi.world import time_limit
from .channel import Channel

ABANDONED = -1  # The serial number of a communicator on which an engine has left a call.
KEPT = 32  # Maximum number of kept communicators. MPICH has room for some 2000 in total.
_TAGS = 1000


class Group(NamedTuple):
    """A communicator, whose rank k is the k-th engine of the group, and its serial number."""

    serial: int
    comm: MPI.Intracomm | None


class Groups:
    """The communicators that this engine shares with groups of engines.

    Each communicator has a serial number, which grows for its group. The number 0 means no communicator, and
    `ABANDONED` a communicator on which an engine has left a call. Engines compare the numbers before they use
    a communicator. If the numbers differ, all make a new one, with the number after the highest. So equal
    numbers are the same communicator on all engines.

    Parameters
    ----------
    comm : MPI.Intracomm
        All engines. Neither user code nor other code uses this communicator.
    channel : Channel
        The channel for notes about collectives. It has a communicator of its own: in Open MPI, `Create_group`
        and messages use the same tags.
    engines : sequence of int
        The engine id of each rank of `comm`.
    """

    def __init__(self, comm: MPI.Intracomm, channel: Channel, engines: Sequence[int]) -> None:
        self.engine = engines[comm.rank]
        self.channel = channel
        self._comm = comm
        self._ranks = {engine: rank for rank, engine in enumerate(engines)}
        self._made: OrderedDict[tuple[int, ...], Group] = OrderedDict()
        self._abandoned: list[tuple[list[MPI.Request], list[Any]]] = []

    def serial(self, group: tuple[int, ...]) -> int:
        """Return the number of the communicator that is kept for `group`, or 0."""
        return self._made[group].serial if group in self._made else 0

    def get(self, group: tuple[int, ...]) -> MPI.Intracomm:
        """Return the communicator that is kept for `group`."""
        self._made.move_to_end(group)
        comm = self._made[group].comm
        assert comm is not None
        return comm

    def make(self, group: tuple[int, ...], serials: set[int]) -> MPI.Intracomm:
        """Make a communicator; this call blocks until all engines of the group make it.

        Parameters
        ----------
        group : tuple of int
            Engine ids.
        serials : set of int
            The serial numbers that these engines have.
        """
        if group in self._made:
            # Another engine has lost the communicator. If an engine has left a call, messages of the call may
            # still arrive, and must not reach a new communicator with the same handle: so the old one is not
            # freed.
            self._drop(self._made.pop(group), free=ABANDONED not in serials)
        serial = max(0, *serials) + 1
        all_engines = self._comm.Get_group()
        members = all_engines.Incl([self._ranks[engine] for engine in group])
        try:
            with time_limit():
                comm = self._comm.Create_group(members, serial % _TAGS)
        finally:
            members.Free()
            all_engines.Free()
        self._keep(group, Group(serial, comm))
        return comm

    def _keep(self, group: tuple[int, ...], made: Group) -> None:
        self._made[group] = made
        if len(self._made) > KEPT:
            self._drop(self._made.popitem(last=False)[1], free=True)

    def _drop(self, made: Group, free: bool) -> None:
        """Forget a communicator on which all calls have ended. MPI frees it without the other members."""
        if free and made.comm is not None:
            made.comm.Free()

    def abandon(
        self, group: tuple[int, ...], requests: Sequence[MPI.Request] = (), buffers: Sequence[Any] = ()
    ) -> None:
        """Never use the communicator of `group` again, because an engine has left a call on it.

        Parameters
        ----------
        group : tuple of int
            Engine ids.
        requests, buffers : sequence
            Pending requests and their buffers. They are kept until the requests end: MPI may still use the
            memory.
        """
        if group in self._made:
            self._keep(group, Group(ABANDONED, None))
        if requests:
            self._abandoned.append((list(requests), list(buffers)))

    def free_buffers(self) -> None:
        """Free the buffers of abandoned operations that have ended."""
        self._abandoned = [entry for entry in self._abandoned if not MPI.Request.Testall(entry[0])]

    def abandon_all(self) -> None:
        """Abandon all communicators, as after a death."""
        for group in list(self._made):
            self.abandon(group)


_current: Groups | None = None
_former: list[Groups] = []  # The former communicators: MPI may still use their buffers.


def enable(comm: MPI.Intracomm, engines: Sequence[int] | None = None) -> None:
    """Prepare for collectives; all engines call this together, at the start and after a repair.

    Parameters
    ----------
    comm : MPI.Intracomm
        All living engines. It is duplicated, because user code may use it.
    engines : sequence of int, optional
        The engine id of each rank; by default the rank itself.
    """
    use(make(comm, range(comm.size) if engines is None else engines))


def make(comm: MPI.Intracomm, engines: Sequence[int]) -> Groups:
    """Make the communicators for collectives, without using them; all engines call this together."""
    return Groups(comm.Dup(), Channel(comm.Dup(), engines), engines)


def use(groups: Groups) -> None:
    """Use `groups` for collectives from now on."""
    global _current
    if _current is not None:
        _former.append(_current)
    _current = groups


def current() -> Groups:
    """Return the communicators that this engine uses for collectives."""
    if _current is None:
        raise RuntimeError("this process has not begun as an engine, so it has no collectives")
    return _current


def forget_communicators() -> None:
    """Abandon the communicators of all groups: the next collective of each group makes a new one."""
    if _current is not None:
        _current.abandon_all()
