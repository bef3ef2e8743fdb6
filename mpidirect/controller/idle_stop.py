"""The stop of a cluster that is idle for too long."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from .idleness import Idleness
from .namespaces import Namespaces

log = logging.getLogger(__name__)

SAVE_TIMEOUT = 300.0  # seconds that engines have to save their namespaces


class IdleStop:
    """Stops an idle cluster; if asked for, the namespaces are saved before.

    A cluster whose namespaces can't be saved goes on. So does a cluster that is used during the save.

    Parameters
    ----------
    idleness : Idleness
        How long the cluster has been idle.
    namespaces : Namespaces
        Saves the namespaces.
    directory : str
        Where the namespaces are saved; empty if they are not to be saved.
    """

    def __init__(self, idleness: Idleness, namespaces: Namespaces, directory: str) -> None:
        self._idleness = idleness
        self._namespaces = namespaces
        self._directory = directory
        self._save_deadline = 0.0  # until when the engines may save; 0 if they do not save now

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
            if self._namespaces.complete:  # else an engine still writes, although the last save has ended
                self._save_deadline = time.monotonic() + SAVE_TIMEOUT
                self._namespaces.hold_clients()
                self._namespaces.begin_to_save(Path(self._directory))
        return ""

    def _saved(self) -> str:
        """Complete the save; return why the cluster is to be stopped, if it is."""
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
