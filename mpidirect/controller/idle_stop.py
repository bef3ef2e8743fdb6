"""The stop of a cluster that has been idle for too long."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from .idleness import Idleness
from .namespaces import Namespaces

log = logging.getLogger(__name__)

SAVE_TIMEOUT = 300.0  # seconds that engines have to save their namespaces


class IdleStop:
    """Stops an idle cluster; if configured, the engines save their namespaces before.

    If the namespaces can't be saved, or the cluster is used during the save, the cluster goes on.

    Parameters
    ----------
    idleness : Idleness
        Measures how long the cluster has been idle.
    namespaces : Namespaces
        Saves the namespaces.
    directory : str
        The directory for the namespaces; empty if they are not saved.
    """

    def __init__(self, idleness: Idleness, namespaces: Namespaces, directory: str) -> None:
        self._idleness = idleness
        self._namespaces = namespaces
        self._directory = directory
        self._save_deadline = 0.0  # until when the engines have time to save; 0 if they do not save now

    @property
    def saving(self) -> bool:
        """Return whether the engines save their namespaces now."""
        return self._save_deadline > 0

    def look(self) -> str:
        """Do the next step, if it is due; return why the cluster is to be stopped now, else an empty text."""
        if self.saving:
            if self._namespaces.complete or time.monotonic() > self._save_deadline:
                return self._saved()
        elif self._idleness.overdue:
            if not self._directory:
                return self._idleness.reason
            if self._namespaces.complete:  # otherwise an engine still writes, although the time is over
                self._save_deadline = time.monotonic() + SAVE_TIMEOUT
                self._namespaces.hold_clients()
                self._namespaces.begin_to_save(Path(self._directory))
        return ""

    def _saved(self) -> str:
        """Complete the save. Return why the cluster is stopped; an empty text if it goes on."""
        self._save_deadline = 0.0
        why = ""
        try:
            lacking = self._namespaces.finish_save()
            why = ", ".join(f"engine {engine}: {text}" for engine, text in lacking.items())
        except OSError as e:
            why = str(e)
        if not why and not self._idleness.in_use:
            return f"{self._idleness.reason}; to continue: rc.load({self._directory!r}) in another cluster"
        if why:
            log.error("the idle cluster goes on, as its namespaces can't be saved: %s", why)
        self._idleness.restart()
        self._namespaces.release_clients()
        return ""
