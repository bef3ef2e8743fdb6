"""Watches a spawn of engines: MPI waits for ever for processes that never initialize MPI."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import AbstractContextManager

from ..files.job_file import Owner
from . import processes
from .parent import Parent
from .process_identity import is_gone

log = logging.getLogger(__name__)

INTERVAL = 0.5  # Seconds between two checks.
GRACE = 2.0  # Seconds that the processes of the job have to end by themselves.


class SpawnWatch(AbstractContextManager[None]):
    """Ends the job's processes on this host if a spawn has become useless, or does not return in time.

    The block of the ``with`` statement is the spawn. It holds the main thread, so a second thread watches.

    Parameters
    ----------
    cluster : str
        The cluster's id.
    controller : Owner
        The process of the controller.
    limit : float
        Seconds that a spawn may take.
    """

    def __init__(self, cluster: str, controller: Owner, limit: float) -> None:
        self._cluster = cluster
        self._controller = controller
        self._limit = limit
        self._parent = Parent()
        self._returned = threading.Event()

    def __enter__(self) -> None:
        self._returned.clear()
        threading.Thread(target=self._watch, args=(time.monotonic() + self._limit,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._returned.set()

    def _watch(self, deadline: float) -> None:
        while not self._returned.wait(INTERVAL):
            if reason := self._find_reason(deadline):
                log.error("the spawn of engines has not returned, and %s: leaving", reason)
                processes.end(self._cluster, GRACE)
                os._exit(1)

    def _find_reason(self, deadline: float) -> str:
        """Return why the job must end; empty if the spawn may go on."""
        if self._parent.gone():
            return "the process that started this rank is gone"
        if is_gone(self._controller):
            return "the controller is gone"
        return f"{self._limit:.0f} s have passed (start_timeout)" if time.monotonic() > deadline else ""
