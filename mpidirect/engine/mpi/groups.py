"""The communicators of groups of engines: made when a view first needs one, and kept for the next time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpi4py import MPI

from ...mpi.world import limited
from .channel import Channel

SPOILED = -1
KEPT = 32  # communicators; MPICH has room for some 2000 in all
_TAGS = 1000


class Group(NamedTuple):
    """A communicator, its rank k the k-th engine of the group, and its serial number."""

    serial: int
    comm: MPI.Intracomm | None


class Groups:
    """The communicators that this engine shares with groups of engines.

    Each carries a serial number that grows for its group; 0 stands for none, `SPOILED` for one that was
    given up (`abandon`) since a call on it was left.  Engines compare these numbers before they use a
    communicator; where they differ, all make a new one, with the number after the highest.  Equal numbers are
    therefore the same communicator, whoever left what and when, and no one has to keep count for the others.

    Parameters
    ----------
    comm : MPI.Intracomm
        All engines; user code never sees it, and nothing else uses it.
    channel : Channel
        For the notes about collectives: on a communicator of its own, because in Open MPI `Create_group` has
        the tags in common with messages.
    engines : sequence of int
        The engine id of each of the ranks of `comm`.
    """

    def __init__(self, comm: MPI.Intracomm, channel: Channel, engines: Sequence[int]) -> None:
        self.engine = engines[comm.rank]
        self.channel = channel
        self._comm = comm
        self._ranks = {engine: rank for rank, engine in enumerate(engines)}
        self._made: OrderedDict[tuple[int, ...], Group] = OrderedDict()
        self._abandoned: list[tuple[list[MPI.Request], list[Any]]] = []

    def serial(self, group: tuple[int, ...]) -> int:
        """The number of the communicator that is kept for `group`, or 0."""
        return self._made[group].serial if group in self._made else 0

    def get(self, group: tuple[int, ...]) -> MPI.Intracomm:
        """The communicator that is kept for `group`."""
        self._made.move_to_end(group)
        comm = self._made[group].comm
        assert comm is not None
        return comm

    def make(self, group: tuple[int, ...], serials: set[int]) -> MPI.Intracomm:
        """Make a communicator: blocks until all engines of the group do.

        Parameters
        ----------
        group : tuple of int
            Engine ids.
        serials : set of int
            The numbers of what these engines have had so far.
        """
        if group in self._made:
            # Another engine has lost it. If a call on it was left, messages of that may still be on their
            # way here, and must not meet another communicator: so the handle is not given back.
            self._drop(self._made.pop(group), free=SPOILED not in serials)
        serial = max(0, *serials) + 1
        everyone = self._comm.Get_group()
        chosen = everyone.Incl([self._ranks[engine] for engine in group])
        try:
            with limited():
                comm = self._comm.Create_group(chosen, serial % _TAGS)
        finally:
            chosen.Free()
            everyone.Free()
        self._keep(group, Group(serial, comm))
        return comm

    def _keep(self, group: tuple[int, ...], made: Group) -> None:
        self._made[group] = made
        if len(self._made) > KEPT:
            self._drop(self._made.popitem(last=False)[1], free=True)

    def _drop(self, made: Group, free: bool) -> None:
        """Forget a communicator on which all calls have ended; MPI frees it without the other members."""
        if free and made.comm is not None:
            made.comm.Free()

    def abandon(
        self, group: tuple[int, ...], requests: Sequence[MPI.Request] = (), buffers: Sequence[Any] = ()
    ) -> None:
        """Never use the communicator of `group` again: a call on it was left.

        Parameters
        ----------
        group : tuple of int
            Engine ids.
        requests, buffers : sequence
            What is pending. They are kept until they are done, because MPI may still use this memory.
        """
        if group in self._made:
            self._keep(group, Group(SPOILED, None))
        if requests:
            self._abandoned.append((list(requests), list(buffers)))

    def tidy(self) -> None:
        """Let go of the buffers of abandoned operations that have ended by now."""
        self._abandoned = [entry for entry in self._abandoned if not MPI.Request.Testall(entry[0])]

    def forget(self) -> None:
        """Give up all communicators at once, as after a death."""
        for group in list(self._made):
            self.abandon(group)


_here: Groups | None = None
_former: list[Groups] = []


def begin(comm: MPI.Intracomm, engines: Sequence[int] | None = None) -> None:
    """Prepare for collectives; all engines call it together, at the start and after a recovery.

    Parameters
    ----------
    comm : MPI.Intracomm
        All engines that live. It is duplicated, so that user code may use it.
    engines : sequence of int, optional
        The engine id of each of its ranks; by default the ranks themselves.
    """
    use(make(comm, range(comm.size) if engines is None else engines))


def make(comm: MPI.Intracomm, engines: Sequence[int]) -> Groups:
    """What `begin` begins with; all engines call it together."""
    return Groups(comm.Dup(), Channel(comm.Dup(), engines), engines)


def use(groups: Groups) -> None:
    """Use these from now on."""
    global _here
    if _here is not None:
        _former.append(_here)  # MPI may still use what is kept there
    _here = groups


def current() -> Groups:
    """The communicators of this engine."""
    if _here is None:
        raise RuntimeError("this process has not begun as an engine, so it has no collectives")
    return _here


def forget_communicators() -> None:
    """Give up the communicators of all groups: the next collective of each makes a new one."""
    if _here is not None:
        _here.forget()
