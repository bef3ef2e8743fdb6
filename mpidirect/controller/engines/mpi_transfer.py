"""Bulk data between the controller and the engines, by non-blocking MPI operations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from ...arrays.lazy_numpy import np
from ...mpi.bulk_transfer import BulkTransfer, Pending
from ...mpi.world import World, living, merged, time_limit
from ...protocol.frames import Frame
from ...protocol.messages import PrepareCommunicators, chunks

ACTIVE_TIME = 0.1  # seconds after progress in which the loop does not sleep
ALL_ENGINES = -1  # the engine of a collective

Completion = Callable[["list[Frame] | None"], None]


class MPITransfer:
    """The controller's end of the private communicator.

    Parameters
    ----------
    world : World
        The communicators. ``broadcast_comm`` is the communicator for broadcasts, if they are worth it:
        between hosts, where a tree is faster than sending to each engine.
    ulfm : bool
        Whether MPI can shrink a communicator that has lost members.
    """

    def __init__(self, world: World, ulfm: bool) -> None:
        self._ulfm = ulfm
        self._use(world, range(world.private.size - 1))
        self._transfers: list[_Transfer] = []
        self._abandoned: list[_Transfer] = []  # transfers whose memory MPI may still use
        self._last_progress = 0.0

    def _use(self, world: World, engines: Sequence[int]) -> None:
        self._comm = world.private
        self._broadcast_comm = world.broadcast_comm  # None once a rank has died
        self._bulk = BulkTransfer(world.private, world.processes)
        self._ranks = {engine: k + 1 for k, engine in enumerate(engines)}

    # -- transfers --------------------------------------------------------------------------------

    @property
    def can_broadcast(self) -> bool:
        """Return whether a broadcast reaches all engines, and is faster than single messages."""
        return self._broadcast_comm is not None

    def send(self, engine: int, pieces: Sequence[Frame]) -> None:
        """Begin to send pieces; the transfer keeps them alive until they are sent."""
        rank = self._ranks[engine]
        self._add(_Transfer(engine, [self._bulk.send(piece, rank) for piece in pieces], pieces, None))

    def broadcast(self, pieces: Sequence[Frame]) -> None:
        """Begin to send pieces to all engines by a collective, in which all engines take part."""
        comm = self._broadcast_comm
        assert comm is not None
        requests = [comm.Ibcast([piece, MPI.BYTE], 0) for piece in pieces]
        self._add(_Transfer(ALL_ENGINES, requests, pieces, None))

    def receive(self, engine: int, sizes: Sequence[int], then: Completion) -> None:
        """Begin to receive bulk frames; `then` gets their chunks, or None if the engine died."""
        pieces = [np.empty(stop - start, np.uint8) for size in sizes for start, stop in chunks(size)]
        rank = self._ranks[engine]
        self._add(_Transfer(engine, [self._bulk.receive(piece, rank) for piece in pieces], pieces, then))

    def _add(self, transfer: _Transfer) -> None:
        self._release_abandoned()
        self._transfers.append(transfer)
        self._last_progress = time.monotonic()

    def _release_abandoned(self) -> None:
        self._abandoned = [transfer for transfer in self._abandoned if not transfer.released()]

    @property
    def busy(self) -> bool:
        """Return whether a transfer is under way."""
        return bool(self._transfers)

    @property
    def active(self) -> bool:
        """Return whether a transfer made progress a moment ago, so the loop should not sleep."""
        return bool(self._transfers) and time.monotonic() - self._last_progress < ACTIVE_TIME

    def progress(self) -> bool:
        """Let MPI progress; return whether a transfer has become complete."""
        if self.active:
            time.sleep(0)  # the engines may need this core
        complete = [transfer for transfer in self._transfers if transfer.complete()]
        if not complete:
            return False
        self._last_progress = time.monotonic()
        self._transfers = [transfer for transfer in self._transfers if transfer not in complete]
        for transfer in complete:
            if transfer.then is not None:
                transfer.then(transfer.pieces)
        return True

    # -- engines that join and leave --------------------------------------------------------------

    def open_port(self) -> str:
        """Open a port at which the controller and all engines meet."""
        return MPI.Open_port()

    def join(self, order: PrepareCommunicators) -> Callable[[], None]:
        """Make all communicators with new engines; return the function that begins to use them.

        This blocks for some milliseconds only, because all engines are ready.

        Raises
        ------
        MPI.Exception
            When MPI fails, for example because an engine has died.
        """
        self._release_abandoned()
        ranks = [0, *(self._ranks[engine] for engine in order.living)]
        try:
            with time_limit(len(order.engines)):
                alone = not order.living
                members = MPI.COMM_SELF if alone else living(self._comm, ranks, self._ulfm, order.epoch)
                world = merged(members, order.port, 0, 1 + len(order.engines), all_new=alone)
        finally:
            MPI.Close_port(order.port)
        if alone:  # MPI now knows the end of the processes of the abandoned transfers
            self._abandoned.clear()
        return lambda: self._use(world, order.engines)

    def engine_lost(self, engine: int) -> None:
        """Give up the transfers with a dead engine, and all collectives."""
        self._broadcast_comm = None
        gone = [transfer for transfer in self._transfers if transfer.engine in (engine, ALL_ENGINES)]
        self._abandoned += gone
        self._transfers = [transfer for transfer in self._transfers if transfer not in gone]
        for transfer in gone:
            if transfer.then is not None:
                transfer.then(None)


class _Transfer:
    """Pieces on their way to or from an engine."""

    __slots__ = ("_failed", "engine", "pieces", "requests", "then")

    def __init__(
        self, engine: int, requests: Sequence[Pending], pieces: Any, then: Completion | None
    ) -> None:
        self.engine = engine
        self.requests = requests
        self.pieces = pieces
        self.then = then
        self._failed = False

    def complete(self) -> bool:
        """Return whether all pieces have arrived. A failed transfer ends with its engine.

        MPI reports the error of a request once; after that the request counts as complete.
        """
        if self._failed:
            return False
        try:
            return all(request.Test() for request in self.requests)
        except (MPI.Exception, OSError):
            self._failed = True
            return False

    def released(self) -> bool:
        """Return whether MPI no longer uses the memory of an abandoned transfer."""
        self.requests = [request for request in self.requests if not _is_over(request)]
        return not self.requests


def _is_over(request: Pending) -> bool:
    """Return whether a request is complete or has failed."""
    try:
        return request.Test()
    except (MPI.Exception, OSError):
        return True
