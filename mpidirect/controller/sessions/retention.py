"""What is kept for clients that are away: within a budget, the oldest goes first."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from .retained_results import RetainedResults
from .session import Session

log = logging.getLogger(__name__)

STALLED = 20.0  # seconds after which a client that is there and takes nothing counts as away
ROOM = 256 * 1024 * 1024  # bytes that may wait for a client that is there, whatever the budget
SESSIONS = 1000  # clients that are away and have nothing to get any more: the latest are remembered


class Retention:
    """Watches over what waits for clients.

    Parameters
    ----------
    budget : int
        Bytes that may wait, here and in engines' memory.
    held : Held
        The results in engines' memory.
    """

    def __init__(self, budget: int, held: RetainedResults) -> None:
        self.budget = budget
        self.retained = held
        self.dropped = 0
        self.stalled: set[Session] = set()  # clients that are there and take nothing
        # of each client that has not got all: how much it had acknowledged, and since when
        self._seen: dict[bytes, tuple[int, float]] = {}

    def idle(self, sessions: Iterable[Session]) -> list[Session]:
        """The clients that take nothing: away, or there and not reading."""
        now = time.monotonic()
        found = []
        self.stalled &= set(sessions)
        for session in sessions:
            if session.listener is None:
                found.append(session)
            elif session.outbox.waiting:
                taken = session.outbox.last - len(session.outbox)
                before, since = self._seen.get(session.name, (-1, now))
                if taken != before:
                    self._seen[session.name] = taken, now
                    self.stalled.discard(session)
                elif now - since > STALLED:
                    self.stalled.add(session)
                if session in self.stalled or session.outbox.kept > self.budget + ROOM:
                    found.append(session)
            else:
                self._seen.pop(session.name, None)
                self.stalled.discard(session)
        return found

    def enforce(self, sessions: Iterable[Session]) -> None:
        """Drop what is over the budget."""
        waiting = [session for session in self.idle(sessions) if len(session.outbox)]
        orphans = list(self.retained.orphans())
        if not waiting and not orphans:
            return
        total = sum(s.outbox.kept for s in waiting) + sum(entry.size for _, entry in orphans)
        if total <= self.budget:
            return
        before = self.dropped
        waiting.sort(key=lambda session: (session.listener is not None, session.away))
        for (task, engine), entry in orphans:
            if total <= self.budget:
                break
            total -= entry.size
            self.retained.release(task, engine)
            self.dropped += 1
        for session in waiting:
            while total > self.budget:
                kept = session.outbox.kept
                dropped = session.drop_oldest()
                if dropped is None:
                    break
                self.dropped += dropped
                total -= kept - session.outbox.kept
        if self.dropped > before:
            log.warning(
                "%d results were dropped: more than %d bytes waited for clients that are away",
                self.dropped - before,
                self.budget,
            )

    def bygone(self, sessions: Iterable[Session]) -> list[Session]:
        """The clients that need not be remembered any more."""
        away = [s for s in sessions if s.listener is None and not s.open]
        empty = [s for s in away if s.left and s.outbox.oldest is None]
        rest = sorted((s for s in away if not s.left), key=lambda s: s.away)
        return empty + rest[: max(0, len(rest) - SESSIONS)]
