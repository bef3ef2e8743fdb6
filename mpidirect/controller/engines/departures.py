"""Engines whose connection has closed: their rank wrappers note how they ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from . import exit_status
from .shutdown import Shutdown

NOTE_TIMEOUT = 0.5  # seconds that a rank wrapper has to note how its engine ended


class Departures:
    """Waits for the rank wrappers' notes on engines that have left."""

    def __init__(
        self, logs: Path, guarded: bool, shutdown: Shutdown, lost: Callable[[int, str], None]
    ) -> None:
        self._logs = logs
        self._timeout = NOTE_TIMEOUT if guarded else 0.0
        self._shutdown = shutdown
        self._lost = lost
        self._deadlines: dict[int, float] = {}

    @property
    def pending(self) -> bool:
        """Return whether an engine has left, and still waits for its note."""
        return bool(self._deadlines)

    def awaits_note(self, engine: int) -> bool:
        """Return whether this engine has left, and still waits for its note."""
        return engine in self._deadlines

    def add(self, engine: int) -> None:
        """Note that the connection of an engine has closed."""
        self._deadlines.setdefault(engine, time.monotonic() + self._timeout)

    def look(self) -> None:
        """Give up the engines whose end is noted, or whose wrapper had the time to note it."""
        for engine, deadline in list(self._deadlines.items()):
            if engine not in self._deadlines:
                continue  # all engines are given up, as the job does not survive the death of the one before
            how = exit_status.describe(self._logs, engine)
            if how or time.monotonic() > deadline or self._shutdown.begun:
                del self._deadlines[engine]
                self._lost(engine, how or "its connection closed")

    def clear(self) -> None:
        """Forget all departures: no engine is left."""
        self._deadlines.clear()
