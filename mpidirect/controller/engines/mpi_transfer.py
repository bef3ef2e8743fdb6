"""Bulk data between the controller and the engines: MPI, point to point, never blocking."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from ...arrays.lazy_numpy import np
from ...mpi.bulk_transfer import BulkTransfer, Pending
from ...mpi.world import World, living, merged, time_limit
from ...protocol.messages import PrepareCommunicators, chunks

LIVELY = 0.1  # seconds that the loop stays awake for a transfer that gets on
ALL = -1  # in the place of an engine


class MPITransfer:
    """The controller's end of the private communicator.

    Parameters
    ----------
    world : World
        The communicators: `private`, and `spread` for collectives, where they are worth it: between hosts,
        where a tree beats sending to each, and as long as no rank has died.
    ulfm : bool
        Whether MPI can shrink a communicator that has lost members.
    """

    def __init__(self, world: World, ulfm: bool) -> None:
        self._ulfm = ulfm
        self._use(world, range(world.private.size - 1))
        self._abandoned: list[_Transfer] = []  # MPI may still look at their memory
        self._transfers: list[_Transfer] = []
        self._moved = 0.0  # when something began or ended last

    def _use(self, world: World, engines: Sequence[int]) -> None:
        self.comm = world.private
        self.spread = world.spread
        self._pieces = BulkTransfer(world.private, world.processes)
        self._ranks = {engine: k + 1 for k, engine in enumerate(engines)}

    def send(self, engine: int, pieces: Sequence[Any]) -> None:
        """Start to send `pieces`; they are kept alive until they are out."""
        requests = [self._pieces.send(piece, self._ranks[engine]) for piece in pieces]
        self._add(_Transfer(engine, requests, pieces, None))

    def send_all(self, pieces: Sequence[Any]) -> None:
        """Start to send `pieces` to all engines at once; all of them take part."""
        assert self.spread is not None
        requests = [self.spread.Ibcast([piece, MPI.BYTE], 0) for piece in pieces]
        self._add(_Transfer(ALL, requests, pieces, None))

    def receive(self, engine: int, sizes: Sequence[int], then: Callable[[list[Any] | None], None]) -> None:
        """Start to receive bulk frames of these sizes; `then` gets them in chunks, or None if none come."""
        pieces = [np.empty(stop - start, np.uint8) for size in sizes for start, stop in chunks(size)]
        requests = [self._pieces.receive(piece, self._ranks[engine]) for piece in pieces]
        self._add(_Transfer(engine, requests, pieces, then))

    def _add(self, transfer: _Transfer) -> None:
        self._abandoned = [t for t in self._abandoned if not t.released()]
        self._transfers.append(transfer)
        self._moved = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._transfers)

    @property
    def lively(self) -> bool:
        """Whether something under way has got on a moment ago, so that it is worth not to sleep."""
        return bool(self._transfers) and time.monotonic() - self._moved < LIVELY

    def progress(self) -> bool:
        """Let MPI work, and end what is complete; whether anything was."""
        if self.lively:
            time.sleep(0)  # the engines may need this core to get on
        ended = [t for t in self._transfers if t.ended()]
        if not ended:
            return False
        self._moved = time.monotonic()
        self._transfers = [t for t in self._transfers if t not in ended]
        for transfer in ended:
            if transfer.then is not None:
                transfer.then(transfer.pieces)
        return True

    def open(self) -> str:
        """A port at which engines that arrive find those that live."""
        return MPI.Open_port()

    def grow(self, order: PrepareCommunicators) -> Callable[[], None]:
        """Make all communicators with the engines that arrive; returns what begins to use them.

        This blocks for some milliseconds: all the others are ready.

        Raises
        ------
        MPI.Exception
            When it fails, as when an engine dies in between.
        """
        self._abandoned = [t for t in self._abandoned if not t.released()]
        ranks = [0, *(self._ranks[engine] for engine in order.living)]
        try:
            with time_limit():
                alone = not order.living
                members = MPI.COMM_SELF if alone else living(self.comm, ranks, self._ulfm, order.epoch)
                world = merged(members, order.port, 0, all_new=alone)
        finally:
            MPI.Close_port(order.port)
        if alone:  # all of it was for processes that are dead, and MPI has heard of their ends meanwhile
            self._abandoned.clear()
        return lambda: self._use(world, order.engines)

    def forget(self, engine: int) -> None:
        """The engine is gone: nothing more goes there or comes from there, and no collective ends."""
        self.spread = None
        gone = (engine, ALL)
        lost = [t for t in self._transfers if t.engine == engine and t.then is not None]
        self._abandoned += [t for t in self._transfers if t.engine in gone]
        self._transfers = [t for t in self._transfers if t.engine not in gone]
        for transfer in lost:
            transfer.then(None)


class _Transfer:
    __slots__ = ("broken", "engine", "pieces", "requests", "then")

    def __init__(self, engine: int, requests: Sequence[Pending], pieces: Any, then: Any) -> None:
        self.engine = engine
        self.requests = requests
        self.pieces = pieces
        self.then = then
        self.broken = False

    def released(self) -> bool:
        """Whether MPI looks at its memory no more; for those that nobody waits for."""
        self.requests = [request for request in self.requests if not _over(request)]
        return not self.requests

    def ended(self) -> bool:
        """Whether it is complete. One with a dead engine never is: its end comes with the engine's."""
        if self.broken:
            return False  # MPI tells of an error once, and then takes the request for complete
        try:
            return all(request.Test() for request in self.requests)
        except (MPI.Exception, OSError):
            self.broken = True
            return False


def _over(request: Pending) -> bool:
    """Whether it is complete, or has failed."""
    try:
        return request.Test()
    except (MPI.Exception, OSError):
        return True
