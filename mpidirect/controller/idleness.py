"""Measures how long no task has run on the engines."""

from __future__ import annotations

import time

from .engine_registry import EngineRegistry
from .scheduling.scheduler import Scheduler
from .sessions.sessions import Sessions

LOOK_INTERVAL = 0.5  # seconds between two checks of all queues


class Idleness:
    """Measures how long the cluster has been idle.

    A cluster is idle while no request is open. A connected client alone does not make the cluster busy:
    notebooks stay connected over night, and ``mpidirect status`` connects as well.

    Parameters
    ----------
    sessions : Sessions
        The sessions of all clients.
    scheduler : Scheduler
        The queues of the engines.
    registry : EngineRegistry
        The engines.
    limit : float
        Seconds after which an idle cluster is stopped; 0 for no limit.
    """

    def __init__(
        self, sessions: Sessions, scheduler: Scheduler, registry: EngineRegistry, limit: float
    ) -> None:
        self._sessions = sessions
        self._scheduler = scheduler
        self._registry = registry
        self._limit = limit
        self._since = self._last_look = time.monotonic()
        self._completed = 0  # number of tasks that the engines had completed at the last check

    def look(self) -> None:
        """Check the queues, at most twice a second. Tasks that ended between two checks count as well."""
        now = time.monotonic()
        if now - self._last_look < LOOK_INTERVAL:
            return
        self._last_look = now
        completed = sum(engine.completed for engine in self._scheduler.engines.values())
        if self.in_use or completed != self._completed or not self._registry.alive:
            self._since, self._completed = now, completed

    @property
    def seconds(self) -> float:
        """Return the seconds for which the cluster was idle at the last check."""
        self.look()
        return time.monotonic() - self._since

    def restart(self) -> None:
        """Begin to measure anew."""
        self._since = time.monotonic()

    @property
    def in_use(self) -> bool:
        """Return whether a request of a client is open."""
        return any(session.open for session in self._sessions.values())

    @property
    def overdue(self) -> bool:
        """Return whether the cluster has been idle for longer than its limit."""
        idle = self.seconds
        return 0 < self._limit < idle

    @property
    def reason(self) -> str:
        """Return why an overdue cluster was stopped, as text."""
        limit = f"{self._limit / 60:g} min" if self._limit >= 60 else f"{self._limit:g} s"
        return f"it was stopped because nothing ran on it for {limit} (idle_timeout)"
