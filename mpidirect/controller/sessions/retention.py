"""The budget for results of absent clients: the oldest results are dropped first."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from .retained_results import RetainedResult, RetainedResults
from .session import Session

log = logging.getLogger(__name__)

STALL_TIMEOUT = 20.0  # seconds after which a connected client that reads nothing counts as idle
CONNECTED_ROOM = 256 * 1024 * 1024  # bytes that may wait for a connected client, in addition to the budget
MAX_EMPTY_SESSIONS = 1000  # maximum number of absent clients without results whose sessions are remembered


class Retention:
    """Keeps the undelivered results of clients within a budget."""

    def __init__(self, budget: int, retained: RetainedResults) -> None:
        self.budget = budget
        self.dropped = 0  # the number of dropped results
        self._retained = retained
        self._stalled: set[Session] = set()  # connected clients that read nothing
        # For each client with unacknowledged messages: the last acknowledged number, and since when.
        self._progress: dict[bytes, tuple[int, float]] = {}

    def is_idle(self, session: Session) -> bool:
        """Return whether a client is away, or is connected but does not read."""
        return session.listener is None or session in self._stalled

    def idle(self, sessions: Iterable[Session]) -> list[Session]:
        """Return the clients that read nothing, or not fast enough."""
        now = time.monotonic()
        found = []
        self._stalled &= set(sessions)
        for session in sessions:
            self._watch(session, now)
            too_much = session.outbox.waiting and session.outbox.kept > self.budget + CONNECTED_ROOM
            if self.is_idle(session) or too_much:
                found.append(session)
        return found

    def _watch(self, session: Session, now: float) -> None:
        """Note whether a connected client reads."""
        if session.listener is None:
            return
        if not session.outbox.waiting:
            self._progress.pop(session.name, None)
            self._stalled.discard(session)
            return
        acknowledged = session.outbox.last - len(session.outbox)
        before, since = self._progress.get(session.name, (-1, now))
        if acknowledged != before:
            self._progress[session.name] = acknowledged, now
            self._stalled.discard(session)
        elif now - since > STALL_TIMEOUT:
            self._stalled.add(session)

    def enforce(self, sessions: Iterable[Session]) -> None:
        """Drop results until the remaining ones fit into the budget."""
        waiting = [session for session in self.idle(sessions) if len(session.outbox)]
        orphans = list(self._retained.orphans())
        if not waiting and not orphans:
            return
        excess = sum(session.outbox.kept for session in waiting) - self.budget
        excess += sum(result.size for _, result in orphans)
        if excess <= 0:
            return
        before = self.dropped
        excess = self._release_orphans(orphans, excess)
        waiting.sort(key=lambda session: (session.listener is not None, session.away))
        for session in waiting:
            excess = self._drop_from(session, excess)
        if self.dropped > before:
            log.warning(
                "%d results were dropped: more than %d bytes waited for clients that are away",
                self.dropped - before,
                self.budget,
            )

    def _release_orphans(self, orphans: Iterable[tuple[tuple[str, int], RetainedResult]], excess: int) -> int:
        """Release results in engines' memory; return the excess that remains."""
        for (task, engine), result in orphans:
            if excess <= 0:
                break
            excess -= result.size
            self._retained.release(task, engine)
            self.dropped += 1
        return excess

    def _drop_from(self, session: Session, excess: int) -> int:
        """Drop the oldest results of a session; return the excess that remains."""
        while excess > 0:
            kept = session.outbox.kept
            dropped = session.drop_oldest()
            if dropped is None:
                break
            self.dropped += dropped
            excess -= kept - session.outbox.kept
        return excess

    def forgettable(self, sessions: Iterable[Session]) -> list[Session]:
        """Return the sessions that need not be remembered."""
        complete = [session for session in sessions if session.listener is None and not session.open]
        finished = [session for session in complete if session.left and session.outbox.oldest is None]
        absent = sorted((s for s in complete if not s.left), key=lambda session: session.away)
        return finished + absent[: max(0, len(absent) - MAX_EMPTY_SESSIONS)]
