"""Receives bulk results from the engines, as fast as their clients read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from ...protocol.frames import Frame
from ...protocol.messages import chunks
from .retention import CONNECTED_ROOM, Retention
from .session import Session


class Loss(Enum):
    """Why a bulk result does not arrive."""

    ENGINE_DIED = "the engine died while the result was on its way"
    OVER_BUDGET = "the client is away, and the result is larger than all that is kept"
    NO_MEMORY = "the controller has no memory for the result"


# its argument are the pieces of a result, or the reason why they do not arrive
Arrival = Callable[["Sequence[Frame] | Loss"], None]


class BulkReceiver(Protocol):
    """Receives bulk data from engines."""

    def receive(
        self, engine: int, sizes: Sequence[int], then: Callable[[list[Frame] | None], None], /
    ) -> None:
        """Receive frames of these sizes in pieces, and call `then`; with None if the engine died."""


class _Result(NamedTuple):
    session: Session
    sizes: Sequence[int]
    then: Arrival


class Downloads:
    """Receives bulk results over MPI.

    An engine keeps its result while its client has much to read. For a client that is away or does not
    read, results are received within the budget. A result larger than the budget is received and dropped.
    """

    def __init__(self, transfer: BulkReceiver, retention: Retention) -> None:
        self._transfer = transfer
        self._retention = retention
        # waiting results by engine; the results of an engine arrive in order
        self._waiting: dict[int, deque[_Result]] = {}
        self._discarding: set[int] = set()  # engines whose result is being received and dropped

    def receive(self, engine: int, session: Session, sizes: Sequence[int], then: Arrival) -> None:
        """Receive bulk frames of these sizes for a client, as soon as there is room."""
        self._waiting.setdefault(engine, deque()).append(_Result(session, sizes, then))
        self.look()

    @property
    def busy(self) -> bool:
        """Return whether an engine waits with a result."""
        return bool(self._waiting or self._discarding)

    def look(self) -> None:
        """Begin the transfers that fit."""
        for engine, queue in list(self._waiting.items()):
            while queue and engine not in self._discarding and self._has_room(queue[0].session):
                self._begin(engine, queue.popleft())
            if not queue:
                del self._waiting[engine]

    def engine_lost(self, engine: int) -> None:
        """Give up the results of a dead engine."""
        for result in self._waiting.pop(engine, ()):
            result.then(Loss.ENGINE_DIED)

    def _has_room(self, session: Session) -> bool:
        return self._retention.is_idle(session) or session.outbox.kept + session.downloading < CONNECTED_ROOM

    def _begin(self, engine: int, result: _Result) -> None:
        session, size = result.session, sum(result.sizes)
        if size > self._retention.budget and self._retention.is_idle(session):
            self._discard(engine, result, Loss.OVER_BUDGET)
            return
        session.downloading += size

        def arrived(pieces: list[Frame] | None) -> None:
            session.downloading -= size
            result.then(Loss.ENGINE_DIED if pieces is None else pieces)

        try:
            self._transfer.receive(engine, result.sizes, arrived)
        except MemoryError:
            session.downloading -= size
            self._discard(engine, result, Loss.NO_MEMORY)

    def _discard(self, engine: int, result: _Result, why: Loss) -> None:
        """Receive a result piece by piece and drop it, so that the engine can continue."""
        sizes = deque(stop - start for size in result.sizes for start, stop in chunks(size))

        def receive_next(previous: Sequence[Frame] | None) -> None:
            if previous is not None and sizes:
                self._transfer.receive(engine, [sizes.popleft()], receive_next)
            else:
                self._discarding.discard(engine)
                result.then(why)

        self._discarding.add(engine)
        receive_next(())
