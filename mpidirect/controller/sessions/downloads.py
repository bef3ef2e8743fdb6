"""Bulk results on their way from the engines: taken only as fast as their clients take them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...protocol.messages import chunks
from .retention import ROOM
from .session import Session

if TYPE_CHECKING:
    from ..engines.mpi_transfer import MPITransfer
    from .retention import Retention

Then = Callable[[Any], None]  # gets the chunks; None if the engine died; else why they are dropped
DROPPED = object()  # the client is away, and this is more than is kept
NO_ROOM = object()  # this process has no memory for it


class _Result(NamedTuple):
    session: Session
    sizes: Sequence[int]
    then: Then


class Downloads:
    """Receives results over MPI.

    An engine whose result nobody takes waits with it.  But not for a client that is away, or that does
    not read: for it results are kept within the budget, and one that is larger is not kept at all.

    Parameters
    ----------
    transfer : Bridge
        Receives.
    retention : Keeper
        Knows who does not read.
    """

    def __init__(self, transfer: MPITransfer, retention: Retention) -> None:
        self.transfer = transfer
        self.retention = retention
        self._waiting: dict[int, deque[_Result]] = {}  # by engine, whose results come in order
        self._discarding: set[int] = set()  # engines with more to come of what is not kept

    def receive(self, engine: int, session: Session, sizes: Sequence[int], then: Then) -> None:
        """Receive bulk frames of these sizes for a client, as soon as there is room."""
        self._waiting.setdefault(engine, deque()).append(_Result(session, sizes, then))
        self.look()

    @property
    def busy(self) -> bool:
        """Whether an engine waits with a result."""
        return bool(self._waiting or self._discarding)

    def look(self) -> None:
        """Begin what there is room for now."""
        for engine, queue in list(self._waiting.items()):
            while queue and engine not in self._discarding and self._has_room(queue[0]):
                self._begin(engine, queue.popleft())
            if not queue:
                del self._waiting[engine]

    def forget(self, engine: int) -> None:
        """The engine is gone, and what it had."""
        for result in self._waiting.pop(engine, ()):
            result.then(None)

    def _has_room(self, result: _Result) -> bool:
        session = result.session
        return self._is_idle(session) or session.outbox.kept + session.coming < ROOM

    def _is_idle(self, session: Session) -> bool:
        return session.listener is None or session in self.retention.stalled

    def _begin(self, engine: int, result: _Result) -> None:
        session, size = result.session, sum(result.sizes)
        if self._is_idle(session) and size > self.retention.budget:
            self._discard(engine, result, DROPPED)
            return
        session.coming += size

        def arrived(pieces: Any) -> None:
            session.coming -= size
            result.then(pieces)

        try:
            self.transfer.receive(engine, result.sizes, arrived)
        except MemoryError:
            session.coming -= size
            self._discard(engine, result, NO_ROOM)

    def _discard(self, engine: int, result: _Result, why: object) -> None:
        """Receive piece by piece what is not kept: the engine must get rid of it."""
        left = deque(stop - start for size in result.sizes for start, stop in chunks(size))

        def following(got: Any) -> None:
            if got and left:
                self.transfer.receive(engine, [left.popleft()], following)
            else:
                self._discarding.discard(engine)
                result.then(why)

        self._discarding.add(engine)
        following(True)
